"""Puts one step of a record under scrutiny: where its numbers break, or where they grow."""
