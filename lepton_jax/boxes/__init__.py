"""Boxes of objects in images: geometry, checks, matching, words."""
