"""The pictures of the docs: a command that a page shows makes each of them."""

import re
from pathlib import Path

from docs import make_pictures

DOCS = Path(make_pictures.__file__).parent
BY_ITS_PAGE = {"augmented.png", "samples.png"}
"""Those that `docs.make_pictures` leaves to the page that shows them."""


def test_a_command_that_the_docs_show_makes_each_picture():
    texts = [page.read_text() for page in sorted(DOCS.glob("*.md"))]
    shown = {name for text in texts for name in re.findall(r"!\[[^]]*\]\(([\w/]+\.png)\)", text)}
    assert shown == {*make_pictures.PICTURES, *BY_ITS_PAGE}
    words = " ".join(" ".join(texts).replace("\\\n", " ").split())
    for command, _ in make_pictures.PICTURES.values():
        assert command in words
