"""The page that shows what moved, since when and why: one file, without a script and a network."""
