"""The way back to the lab: from what production saw to a model that takes its place."""
