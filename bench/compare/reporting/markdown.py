"""Writes a report as Markdown, with its plots beside it. Pure."""

import re
from collections.abc import Sequence
from typing import assert_never

from bench.compare.reporting.blocks import TITLE, Block, Bullets, Heading, Paragraph, Picture, Table


def markdown(blocks: Sequence[Block], *, plots: str) -> str:
    """Return the report; `plots` is the directory of its plots, as seen from it."""
    return "\n\n".join([f"# {TITLE}", *(_block(block, plots) for block in blocks)]) + "\n"


def _block(block: Block, plots: str) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {text}"
        case Paragraph(text):
            return _escaped(text)
        case Bullets(items):
            return "\n".join(f"* {_escaped(item)}" for item in items)
        case Table(columns, rows, words):
            ruler = f"| --- |{(' --- |' if words else ' ---: |') * (len(columns) - 1)}"
            return "\n".join((_row(columns), ruler, *map(_row, rows)))
        case Picture(plate):
            return f"![{_escaped(plate.title)}]({plots}/{plate.name}.png)\n\n{_escaped(plate.caption)}"
        case _:
            assert_never(block)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_escaped(cell) for cell in cells)} |"


def _escaped(text: str) -> str:
    return re.sub(r"([*_|<])", r"\\\1", text)
