"""The project's SQL, loaded by name: statements in `queries/<name>.sql`, the schema in `schema/NNN_*.sql`, in order.

SQL is source code in files of its own: Python holds no SQL and never builds a statement from parts.
"""

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import LiteralString, NamedTuple

_HERE = Path(__file__).parent
# The wheel carries the checkout's sql/ inside this package; an editable installation reads the checkout itself.
_FILES = _HERE / "files" if (_HERE / "files").is_dir() else _HERE.parents[1] / "sql"


class SchemaFile(NamedTuple):
    """One file of the schema: its name, its text, and the SHA-256 of the text in hexadecimal."""

    name: str
    text: LiteralString
    checksum: str


@cache
def query(name: str) -> LiteralString:
    """Return the statement in `queries/<name>.sql`; raises FileNotFoundError for an unknown name."""
    return _FILES.joinpath("queries", f"{name}.sql").read_text(encoding="utf-8")


def schema() -> list[SchemaFile]:
    """Return the files of the schema in the order in which they apply."""
    paths = sorted((path for path in _FILES.joinpath("schema").iterdir()), key=lambda path: path.name)
    texts = [(path.name, path.read_text(encoding="utf-8")) for path in paths if path.name.endswith(".sql")]
    return [SchemaFile(name, text, sha256(text.encode()).hexdigest()) for name, text in texts]


@cache
def example(name: str) -> LiteralString:
    """Return the script in `examples/<name>.sql`: only the demo, the benchmarks and the example handlers use them."""
    return _FILES.joinpath("examples", f"{name}.sql").read_text(encoding="utf-8")
