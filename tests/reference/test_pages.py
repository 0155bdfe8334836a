"""The pages of docs/reference say what the code says now."""

from docs import make_reference


def test_pages_of_the_reference_are_up_to_date():
    pages = make_reference.make_pages()
    there = {path.name: path.read_text() for path in make_reference.FOLDER.glob("*.md")}
    if make_reference.optax_version() not in there[make_reference.OPTIMIZERS]:
        del pages[make_reference.OPTIMIZERS], there[make_reference.OPTIMIZERS]
    old = sorted(name for name in pages.keys() | there if pages.get(name) != there.get(name))
    assert not old, f"out of date: {', '.join(old)}; write them by python -m docs.make_reference"
