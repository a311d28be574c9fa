"""When the log says that Postgres is away, and that it is back: once for an incident. Pure; callers give the time."""

QUIET_SECONDS = 5.0


class Incident:
    """Failures of one kind are one incident, until nothing has failed for `QUIET_SECONDS`.

    A kind is a SQLSTATE where there is one: the texts of one failure may differ, such as by the file of a full disk.

    Successes alone do not end it: while writes fail (a full disk), reads succeed.
    """

    def __init__(self) -> None:
        self._kind: str | None = None
        self._last = 0.0

    @property
    def lasts(self) -> bool:
        """Whether something has failed, and its end was not seen."""
        return self._kind is not None

    def failed(self, kind: str, now: float) -> bool:
        """Take a failure; return whether it is to be told."""
        self._last = now
        new = kind != self._kind
        self._kind = kind
        return new

    def succeeded(self, now: float) -> bool:
        """Take a success; return whether it ends the incident."""
        if self._kind is None or now - self._last < QUIET_SECONDS:
            return False
        self._kind = None
        return True
