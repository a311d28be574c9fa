"""The tree in docs/architecture.md against the checkout's folders."""

import re
from pathlib import Path, PurePath

from tests.unit.docs.markdown import ROOT, section

_SOURCES = ("*.py", "*.sql")
_INDENT = 2


def _shown() -> list[PurePath]:
    """Return the folders of the tree; each is indented below its parent."""
    text = section((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"), "## Folders")
    folders: list[PurePath] = []
    above: list[str] = []
    for indent, name in re.findall(r"^( *)(\w+)/ ", text, re.MULTILINE):
        above[len(indent) // _INDENT :] = [name]
        folders.append(PurePath(*above))
    return folders


def _there(parent: Path) -> set[PurePath]:
    """Return the folders in `parent` that have sources in them."""
    return {
        path.relative_to(ROOT)
        for path in parent.iterdir()
        if path.is_dir() and path.name[0] not in "._" and any(any(path.rglob(kind)) for kind in _SOURCES)
    }


def test_where_the_tree_shows_folders_it_shows_those_that_exist() -> None:
    shown = _shown()
    assert shown
    for parent in {folder.parent for folder in shown}:
        assert {folder for folder in shown if folder.parent == parent} == _there(ROOT / parent), f"below {parent}"
