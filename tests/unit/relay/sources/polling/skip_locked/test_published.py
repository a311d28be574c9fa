"""The snapshot that stands for marks: it sees what is published, and nothing else."""

import random

from relay.core.position import Snapshot
from relay.sources.polling.skip_locked.published import brought_forward

NOW = Snapshot(90, 100, (90, 95))


def test_without_rows_that_are_not_published_it_is_the_new_snapshot() -> None:
    assert brought_forward(NOW, [], [], complete=True) == NOW


def test_a_transaction_with_a_row_that_is_not_published_counts_as_running() -> None:
    assert brought_forward(NOW, [80], [97, 98, 98], complete=True) == Snapshot(80, 100, (80, 90, 95, 97, 98))


def test_it_ends_before_the_first_transaction_that_was_not_looked_at() -> None:
    assert brought_forward(NOW, [80], [92, 94], complete=False) == Snapshot(80, 94, (80, 90, 92))


def test_it_may_end_where_it_ended() -> None:
    assert brought_forward(NOW, [], [70], complete=False) == Snapshot(70, 70, ())


def test_a_transaction_beyond_the_new_snapshot_is_none_that_it_sees() -> None:
    assert brought_forward(NOW, [], [150], complete=False) == NOW


def test_whatever_happens_no_row_is_forgotten_and_none_that_is_published_comes_back() -> None:
    """Random histories: transactions end in any order, and their rows are published in any order."""
    for seed in range(300):
        _history(random.Random(seed))  # noqa: S311 - histories, no secrets


def _history(draw: random.Random) -> None:
    stored, next_xid = Snapshot(1, 1), 1
    running: set[int] = set()
    committed: set[int] = set()
    published: set[int] = set()
    for _ in range(40):
        match draw.choice(["begin", "begin", "commit", "publish", "publish", "forward"]):
            case "begin":
                running.add(next_xid)
                next_xid += 1
            case "commit" if running:
                ended = draw.choice(sorted(running))
                running.remove(ended)
                committed.add(ended)
            case "publish" if committed - published:
                published.add(draw.choice(sorted(committed - published)))
            case "forward":
                now = Snapshot(min(running, default=next_xid), next_xid, tuple(sorted(running)))
                left = sorted(xid for xid in committed - published if not stored.sees(xid))
                late, new = [xid for xid in left if xid < stored.xmax], [xid for xid in left if xid >= stored.xmax]
                limit = draw.choice([1, 2, 100])
                forward = brought_forward(now, late, new[:limit], complete=len(new) < limit)
                seen = {xid for xid in range(1, next_xid) if forward.sees(xid)}
                assert seen <= published, "what is not published counts as published"
                assert {xid for xid in range(1, next_xid) if stored.sees(xid)} <= seen, "what was published comes back"
                stored = forward
            case _:
                pass
