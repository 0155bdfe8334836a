"""Which versions of which models are loaded, and how one takes the place of another."""
