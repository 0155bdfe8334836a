"""The pages on which a person tries a model in a browser: files, sent as they are."""
