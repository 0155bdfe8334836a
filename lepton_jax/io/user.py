"""Who uses this machine."""

import getpass


def login_name() -> str:
    """Returns the name of this user; '' of one that has none, as in a container."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""
