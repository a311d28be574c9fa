"""Names as they are written in SQL. Pure."""


def quoted(name: str) -> str:
    """Return a name in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def quoted_table(name: str) -> str:
    """Return `schema.table`, each part in double quotes."""
    return ".".join(map(quoted, name.split(".", 1)))
