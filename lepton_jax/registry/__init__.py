"""Named models, their versions and aliases, and what it takes to be promoted."""
