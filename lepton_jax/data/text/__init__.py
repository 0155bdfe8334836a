"""Texts: how they become tokens, and batches of like lengths."""
