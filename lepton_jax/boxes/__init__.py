"""Boxes of objects in images: geometry and checks."""
