import sys


def say(message: str) -> None:
    print(message, file=sys.stderr)
