"""Writes a report as one HTML file that loads nothing: styles and plots are in it. Pure."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import assert_never

from bench.compare.reporting.blocks import TITLE, Block, Bullets, Heading, Paragraph, Picture, Table

_STYLE = """
body { margin: 2rem auto; max-width: 1240px; padding: 0 20px; color: #222; background: #fff;
       font: 16px/1.5 system-ui, sans-serif; }
p, ul { max-width: 60rem; }
h2 { margin-top: 3rem; border-bottom: 1px solid #ccc; }
nav ul { columns: 2; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; margin: 1rem 0; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #ddd; text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; }
table.text th, table.text td { text-align: left; }
figure { margin: 2rem 0; }
figure svg { display: block; width: 100%; height: auto; }
figcaption { max-width: 60rem; color: #555; font-size: 14px; }
"""


def page(blocks: Sequence[Block], svgs: Mapping[str, str]) -> str:
    """Return the page; `svgs` has the element of each plot by its name."""
    headings = [block.text for block in blocks if isinstance(block, Heading) and block.level == 2]  # noqa: PLR2004 - h2
    links = "".join(f'<li><a href="#{_anchor(text)}">{escape(text)}</a></li>' for text in headings)
    body = "\n".join(_block(block, svgs) for block in blocks)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width">\n<title>{TITLE}</title>\n<style>{_STYLE}</style>\n'
        f"</head>\n<body>\n<h1>{TITLE}</h1>\n<nav><ul>{links}</ul></nav>\n{body}\n</body>\n</html>\n"
    )


def _block(block: Block, svgs: Mapping[str, str]) -> str:
    match block:
        case Heading(text, level):
            anchor = f' id="{_anchor(text)}"' if level == 2 else ""  # noqa: PLR2004 - h2
            return f"<h{level}{anchor}>{escape(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{escape(text)}</p>"
        case Bullets(items):
            return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"
        case Table():
            return _table(block)
        case Picture(plate):
            return f"<figure>{svgs[plate.name]}<figcaption>{escape(plate.caption)}</figcaption></figure>"
        case _:
            assert_never(block)


def _table(table: Table) -> str:
    kind = ' class="text"' if table.words else ""
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
    head = f"<thead><tr>{head}</tr></thead>" if any(table.columns) else ""
    return f'<div class="wide"><table{kind}>{head}<tbody>{rows}</tbody></table></div>'


def _anchor(text: str) -> str:
    return "-".join(text.lower().split())
