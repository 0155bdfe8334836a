"""From a trained run to a bundle that proves itself: the program, what it needs, what it said."""
