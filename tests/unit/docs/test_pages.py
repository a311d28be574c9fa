"""README, CONTRIBUTING and docs/: what they link to and what they quote is there."""

import re
from pathlib import Path

import pytest

from tests.unit.docs.markdown import PAGES, ROOT, anchors, links, prose, quoted

_README_LINES = 120
# A path of the checkout: at least one folder, and an ending that only files of ours have, or a slash.
_PATH = re.compile(r"(?:[\w.-]+/)+(?:[\w-]+\.(?:py|sql|md|toml|lock))?(?:::\w+)?")
_MADE = {"secrets/"}
"""What commands make in a checkout."""

pages = pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])


@pages
def test_every_link_inside_the_checkout_leads_to_a_page_and_a_heading(page: Path) -> None:
    for link in links(prose(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}"


@pages
def test_every_path_in_backticks_is_there(page: Path) -> None:
    for words in quoted(prose(page)):
        if _PATH.fullmatch(words) and words not in _MADE:
            path, _, test = words.partition("::")
            assert (ROOT / path).exists(), f"{page.name} names {words}"
            assert f"def {test}(" in (ROOT / path).read_text(encoding="utf-8") if test else True, (
                f"{page.name} names {words}"
            )


def test_the_readme_is_read_in_three_minutes() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= _README_LINES
