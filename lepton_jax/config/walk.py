"""Dotted paths of config keys."""


def join_path(path: str, name: str) -> str:
    return f"{path}.{name}" if path else str(name)
