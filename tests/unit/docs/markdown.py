"""The project's pages as tests read them: tables, links, anchors and quoted words."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

_FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
_LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
_QUOTED = re.compile(r"(`+)(.+?)\1")


def prose(page: Path) -> str:
    """Return the text of `page` without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def links(text: str) -> list[str]:
    """Return the targets of the links in `text`; a regular expression in backticks may look like one."""
    return _LINK.findall(_QUOTED.sub("", text))


def quoted(text: str) -> list[str]:
    """Return what stands in backticks in `text`."""
    return [words.strip() for _, words in _QUOTED.findall(text)]


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of the headings of `page`."""
    headings = [heading for _, heading in _HEADING.findall(prose(page))]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def section(text: str, heading: str) -> str:
    """Return what stands below `heading` until the next heading of its level or above."""
    _, found, rest = text.partition(f"\n{heading}\n")
    assert found, f"no heading {heading!r}"
    level = len(heading.split(maxsplit=1)[0])
    end = re.search(rf"^#{{1,{level}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def rows(text: str) -> Iterator[list[str]]:
    """Yield the cells of each row of the tables in `text`, without their headings."""
    lines = text.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("|") and not line.startswith("|---") and not following.startswith("|---"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
