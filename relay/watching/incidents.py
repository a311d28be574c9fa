"""How often an incident that lasts is told: once at its beginning, and then with its count. Pure: methods take `now`.

An incident is of a kind, such as returned messages with one reason. It begins with the first occurrence, which is told
at once. While it lasts, what has come since is told once a minute, as a count. It ends when its end is seen, or when
nothing of its kind has come for half a minute: what is still untold is told then. The next occurrence begins a new
incident. Whether good alternates with bad does not matter: a good message ends no incident of others.
"""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

TELL_EVERY = 60.0
QUIET_AFTER = 30.0


@dataclass
class _Lasting:
    told_at: float
    seen_at: float
    untold: int = 0


class Incidents(Generic[K]):
    """The incidents that last, by their kind."""

    def __init__(self) -> None:
        self._lasting: dict[K, _Lasting] = {}

    def __bool__(self) -> bool:
        return bool(self._lasting)

    def seen(self, kind: K, count: int, now: float) -> bool:
        """Note `count` occurrences; return whether an incident begins with them, and is to be told."""
        lasting = self._lasting.get(kind)
        if lasting is None:
            self._lasting[kind] = _Lasting(now, now)
            return True
        lasting.seen_at = now
        lasting.untold += count
        return False

    def due(self, now: float) -> Iterator[tuple[K, int]]:
        """Yield what is to be told now, with its count, and forget what has ended."""
        for kind, lasting in list(self._lasting.items()):
            ended = now - lasting.seen_at >= QUIET_AFTER
            if lasting.untold and (ended or now - lasting.told_at >= TELL_EVERY):
                yield kind, lasting.untold
                lasting.untold, lasting.told_at = 0, now
            if ended:
                del self._lasting[kind]

    def over(self, ends: Callable[[K], bool]) -> int | None:
        """Note the end of the incidents whose kind `ends`; return what is untold of them, or None if there was none."""
        ended = [self._lasting.pop(kind) for kind in list(self._lasting) if ends(kind)]
        return sum(lasting.untold for lasting in ended) if ended else None

    def rest(self) -> Iterator[tuple[K, int]]:
        """Yield everything that is untold, with its count: nothing comes any more."""
        for kind, lasting in self._lasting.items():
            if lasting.untold:
                yield kind, lasting.untold
        self._lasting.clear()
