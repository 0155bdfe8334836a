#!/usr/bin/env python3
"""The front door of a checkout: `python launch.py COMMAND --help`. An installed package has
`lepton COMMAND --help`. The table of commands is in `lepton_jax/commands/__init__.py`.
"""

from lepton_jax.__main__ import main

if __name__ == "__main__":
    main()
