"""What the text of a value is, by the type of its column. Pure.

A stream has what a type's output function writes. `column::text` is the same, except for the types of `AS_TEXT`,
whose cast to text is a function of its own (pg_cast). An event has the text of the cast. The one exception is xml: the
cast keeps the declaration of an encoding, which is not that of the message; the output function leaves it out.
"""

from collections.abc import Callable, Mapping

# The oids of built-in types are fixed: src/include/catalog/pg_type.dat.
BOOL, BYTEA, OID, JSON, XML, FLOAT4, FLOAT8, INET, BPCHAR, NUMERIC, JSONB, XID8 = (
    16, 17, 26, 114, 142, 700, 701, 869, 1042, 1700, 3802, 5069,
)  # fmt: skip

UNSHOWN_BY_WAL2JSON = frozenset({FLOAT4, FLOAT8, NUMERIC})
"""The types whose NaN and infinities wal2json writes as null; domains over them are written whole."""


def _boolean(value: str | bool) -> str:  # noqa: FBT001 - wal2json writes true, pgoutput writes t
    return "true" if value in {True, "t"} else "false"


def _address(value: str) -> str:
    if "/" in value:
        return value
    return f"{value}/{128 if ':' in value else 32}"


def _unpadded(value: str) -> str:
    return value.rstrip(" ")


AS_TEXT: Mapping[int, Callable[..., str]] = {BOOL: _boolean, INET: _address, BPCHAR: _unpadded}
"""From the oid of a type, or of the one below a domain, to what makes `::text` of what a stream has."""
