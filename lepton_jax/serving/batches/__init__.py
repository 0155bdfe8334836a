"""Batches of requests: which sizes answer alike, and what is computed together."""
