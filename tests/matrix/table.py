"""The table of `make matrix`: one row for each release. Pure."""

from collections.abc import Mapping, Sequence

from tests.matrix.results import READERS, SUITES, Count

_VERSIONS = ("PostgreSQL", "wal2json", "RabbitMQ", "Python")
_OVER = "of these, by "
COLUMNS = ("release", *_VERSIONS, *SUITES, *(f"{_OVER}{reader}" for reader in READERS), "minutes")


def row(release: str, versions: Mapping[str, str], counts: Mapping[str, Count], *, seconds: float) -> tuple[str, ...]:
    """Return the cells of one release; a number alone means that so many tests ran and all have passed."""
    counted = [str(counts.get(each, Count(0, 0))) for each in (*SUITES, *READERS)]
    return (release, *(versions.get(each, "-") for each in _VERSIONS), *counted, f"{seconds / 60:.0f}")


def lines(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return the table in Markdown, with columns of one width, so that it can be read as it is."""
    table = [COLUMNS, *rows]
    widths = [max(len(each[column]) for each in table) for column in range(len(COLUMNS))]
    rule = tuple("-" * width for width in widths)
    return [
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(each, widths, strict=True))} |"
        for each in (COLUMNS, rule, *rows)
    ]
