"""The one palette: the colours that tell splits, variants and classes apart in every picture.

Readers who do not tell red from green tell any two of them apart, also beside `INK` and `GREY`:
tests/plots/test_palette.py measures how far apart such readers see them.
"""

INK, SOFT, GREY = "#1d1c1a", "#5f5b53", "#8f8d88"
"""What others are compared with, such as a baseline; small words; what stays in the background."""

TEAL, RUST, VIOLET, OCHRE, BLUE, MAGENTA = COLOURS = (
    "#016351",
    "#a23600",
    "#7c69cc",
    "#aa8503",
    "#044b8d",
    "#c462aa",
)
"""On a light ground."""

DARK_INK = "#ebe8e1"
DARK_COLOURS = ("#52c3ca", "#ef926b", "#7a8aea", "#e2be53", "#85b6f1", "#a65a95")
"""The same on a dark ground, in the same order."""

DASHES = ((), (7, 3), (2, 3), (9, 3, 2, 3))
"""On and off, in halves of a line's width: the colours are used with one after the other."""

RIGHT, WRONG = TEAL, RUST
SPLITS = {"train": GREY, "valid": BLUE, "test": RUST}
OTHER_SPLITS = (TEAL, VIOLET, OCHRE, MAGENTA)
