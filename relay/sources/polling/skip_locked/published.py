"""Which rows need no mark any more: what a snapshot stands for. Pure.

A mark says of one row that it is published. The stored snapshot says so of every row whose transaction it sees. It is
brought forward again and again, and the marks that it stands for are removed. So there are few marks, and a poll begins
where the snapshot ends, however large the table is.

A newer snapshot N sees rows that are not published yet: some poller has them, or none. Their transactions are listed in
the stored one as if they were still running. Where there are too many of them, it ends before the first that is not
known.
"""

from collections.abc import Iterable, Sequence

from relay.core.position import Snapshot


def brought_forward(now: Snapshot, late: Iterable[int], new: Sequence[int], *, complete: bool) -> Snapshot:
    """Return the snapshot all of whose rows are published.

    `now` sees the rows of `late` and `new`, which are not published: transactions that were running for the stored
    snapshot, and those from its end on, in order; `new` is their beginning unless it is `complete`.
    """
    xmax = now.xmax if complete else min(new[-1], now.xmax)
    running = sorted({xid for xid in (*now.running, *late, *new) if xid < xmax})
    return Snapshot(min(now.xmin, xmax, *running[:1]), xmax, tuple(running))
