"""The command line: from words to a call of a command."""
