"""The form of every table."""

from rich.table import Table


def table_of(title: str, *columns: str) -> Table:
    """Return a table without rows; the first column is text, all others are figures."""
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number and column else "left")
    return table
