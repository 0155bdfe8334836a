"""Who made a bundle: keys, signed statements, and the keys that this machine trusts."""
