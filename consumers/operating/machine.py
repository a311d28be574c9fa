"""The state machine of a task as a diagram, drawn from the edges that a database has.

`draw` is pure; `edges` reads tasks.transition. Nothing here knows an edge by itself.
"""

import json
import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Literal, NamedTuple, TypeAlias, assert_never

from psycopg.rows import args_row

from consumers.operating.connection import connected
from consumers.settings import ConsumerSettings
from outboxkit import sql

Format: TypeAlias = Literal["text", "mermaid", "dot"]


class Edge(NamedTuple):
    """A task may go from one status to another, and what that means."""

    from_status: str
    to_status: str
    meaning: str


def edges(settings: ConsumerSettings) -> list[Edge]:
    """Return the edges of the database, in the order in which a task lives; raises a Problem if it cannot be asked."""
    with connected(settings, "states", args_row(Edge)) as connection:
        return connection.execute(sql.query("task_edges")).fetchall()


def draw(machine: Sequence[Edge], form: Format) -> str:
    """Return the diagram of `machine`, with a line break at its end."""
    match form:
        case "text":
            lines = _text(machine)
        case "mermaid":
            drawn = (f"    {edge.from_status} --> {edge.to_status}: {_label(edge.meaning)}" for edge in machine)
            lines = ["stateDiagram-v2", *drawn, *(f"    {status} --> [*]" for status in final(machine))]
        case "dot":
            drawn = (
                f"    {json.dumps(a)} -> {json.dumps(b)} [label={json.dumps(meaning)}];" for a, b, meaning in machine
            )
            lines = ["digraph task {", *drawn, "}"]
        case _:
            assert_never(form)
    return "\n".join(lines) + "\n"


def final(machine: Iterable[Edge]) -> list[str]:
    """Return the statuses that no edge leaves, in the order in which they are reached."""
    left = {edge.from_status for edge in machine}
    return list(dict.fromkeys(edge.to_status for edge in machine if edge.to_status not in left))


def _label(meaning: str) -> str:
    """Return `meaning` without what ends a label in Mermaid."""
    return re.sub(r"[:;]", ",", meaning)


def _text(machine: Sequence[Edge]) -> list[str]:
    left = max((len(edge.from_status) for edge in machine), default=0)
    right = max((len(edge.to_status) for edge in machine), default=0)
    lines: list[str] = []
    for status, ways in groupby(machine, key=lambda edge: edge.from_status):
        way = list(ways)
        for number, edge in enumerate(way):
            name = status if number == 0 else ""
            branch = "───" if len(way) == 1 else "─┬─" if number == 0 else " └─" if edge is way[-1] else " ├─"
            lines.append(f"{name:{left}} {branch}► {edge.to_status:{right}}  {edge.meaning}")
    return [*lines, *(f"{status:{left}}  ■" for status in final(machine))]
