"""What is told of the differences that shadow mode finds, and how often. Pure: methods take `now`."""

_PASSED_OVER = (
    "`relay audit` names it if nobody published it, and with --repair publishes it; for a table other than "
    "outbox.event, compare the row with what consumers received; report it with this line"
)
_TWICE = "none: consumers skip what they have applied, by its id or version; report it with this line"
DIFFERENCES = {
    "missing_live": ("the live stream has passed over an event that the other source gave", _PASSED_OVER),
    "missing_shadow": (
        "the other source has passed over an event that the live stream gave: a hand-over to it would lose such events",
        "look for the row: one that is deleted by the transaction that wrote it needs RELAY_SOURCE=wal",
    ),
    "order": (
        "the sources give events of one aggregate in different orders",
        "let writers of one aggregate exclude each other before they write its event, as docs/writers.md says",
    ),
    "twice": ("one of the sources has given an event twice", _TWICE),
}
"""What each kind of difference means, and what to do about it."""
LINES = 20
"""How many are told within a minute, each on a line of its own."""
_MINUTE = 60.0


class FewLines:
    """Lets `LINES` lines pass within a minute."""

    def __init__(self) -> None:
        self._began = float("-inf")
        self._told = 0

    def may_tell(self, now: float) -> bool:
        """Return whether there may be a line more, and count it."""
        if now - self._began >= _MINUTE:
            self._began, self._told = now, 0
        self._told += 1
        return self._told <= LINES
