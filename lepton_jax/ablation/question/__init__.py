"""An experiment's question: what varies, and the trials that come of it."""
