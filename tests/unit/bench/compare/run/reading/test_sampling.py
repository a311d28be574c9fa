"""What grows in a block is measured from before it: its first sample is there when it begins, or it does not begin."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Timer
from types import SimpleNamespace
from typing import cast

import pytest

from bench.compare.results import RETAINED, TABLE
from bench.compare.run.reading import spending
from bench.compare.run.reading.sampling import Sampler
from bench.stage import Stage


def stage(opens: Event) -> Stage:
    """Return a place whose session opens when `opens` is set."""

    @contextmanager
    def connect() -> Iterator[object]:
        assert opens.wait(30)
        yield object()

    return cast("Stage", SimpleNamespace(connect=connect, exchange="orders"))


@pytest.fixture
def opens() -> Iterator[Event]:
    opens = Event()
    yield opens
    opens.set()  # a thread that waits for it ends


def test_the_first_sample_is_there_when_the_block_begins(opens: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spending, "sizes", lambda *_: (7, 5))
    Timer(0.2, opens.set).start()
    with Sampler(stage(opens)) as samples:
        begun = samples.series(0)
    assert {name: each.points[0][1] for name, each in begun.items()} == {TABLE: 5.0, RETAINED: 7.0}


def test_without_a_first_sample_in_time_the_block_does_not_begin(opens: Event) -> None:
    with (
        pytest.raises(TimeoutError, match=r"no sample of the sizes within 0.1 s"),
        Sampler(stage(opens), begin_seconds=0.1),
    ):
        pytest.fail("it has begun")


def test_a_first_sample_that_fails_is_raised_before_the_block_begins(
    opens: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sizes(_: object, exchange: str) -> None:
        raise LookupError(exchange)

    monkeypatch.setattr(spending, "sizes", sizes)
    opens.set()
    with pytest.raises(LookupError, match="orders"), Sampler(stage(opens)):
        pytest.fail("it has begun")
