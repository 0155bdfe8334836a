"""Numbers in the forms in which people read them."""

import time


def count_things(number: int, name: str) -> str:
    """Returns a number of things: `1 program`, `2 programs`."""
    return f"{number:,} {name}" if number == 1 else f"{number:,} {name}s"


def format_bytes(count: float) -> str:
    """Returns a number of bytes in binary units: `1.50 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.2f} {unit}"
        count /= 1024
    return f"{count:.2f} TiB"


def format_metric(value: float) -> str:
    """Formats a metric with four digits: `0.0475`, `1.23e+04`."""
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.3g}"


def format_seconds(seconds: float) -> str:
    """Formats seconds as `0:07`, `12:34`, `3:02:05` or `4 d 02:05`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24:02d}:{minute:02d}"
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def format_clock(seconds: float) -> str:
    """Formats the time of day in so many seconds: `at 14:32`, on another day `on Tue at 14:32`."""
    now = time.time()
    then, today = time.localtime(now + seconds), time.localtime(now)
    if then[:3] == today[:3]:
        return time.strftime("at %H:%M", then)
    return time.strftime("on %a at %H:%M" if seconds < 6 * 86400 else "on %d %b %Y", then)
