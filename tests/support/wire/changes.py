"""Which messages belong to which transaction, read from what wal2json writes (format version 2). Pure."""

import json
from typing import NamedTuple

from tests.support.wire.postgres import parse_lsn

_SCHEMA = "outbox"


class Transaction(NamedTuple):
    """A transaction that the server has sent completely."""

    commit: int
    """Where its COMMIT begins: a slot that was moved past this never sends it again (snapbuild.c)."""
    end: int
    """Where its COMMIT ends: what may be reported as flushed when its messages are confirmed."""
    messages: list[str]
    """The ids of its outbox rows, which are their messages' ids."""


class Changes:
    """Collects one stream, in order."""

    def __init__(self) -> None:
        self._messages: list[str] = []

    def read(self, payload: bytes) -> Transaction | None:
        """Return the transaction that `payload` ends, if any; raises ValueError if wal2json did not write it.

        The stream must have been asked for with `include-transaction` and `include-lsn`.
        """
        match payload[:12]:
            case b'{"action":"B':
                self._messages = []
            case b'{"action":"I':
                change = json.loads(payload)
                if change["schema"] == _SCHEMA:
                    self._messages += [column["value"] for column in change["columns"] if column["name"] == "id"]
            case b'{"action":"C':
                change = json.loads(payload)
                return Transaction(parse_lsn(change["lsn"]), parse_lsn(change["nextlsn"]), self._messages)
            case start if not start.startswith(b'{"action":'):
                raise ValueError(f"wal2json's format version 2 does not begin with {start!r}")
        return None
