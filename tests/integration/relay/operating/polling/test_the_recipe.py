"""docs/from-polling.md as it stands: its configuration runs, and moves to the WAL without a gap."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from outboxkit.settings import load
from relay.settings import RelaySettings
from sandbox import Isolated
from tests.integration.relay.stage import staged
from tests.support.commands import ROOT, Command
from tests.support.stage import Stage
from tests.support.tap import Tap

PAGE = (ROOT / "docs" / "from-polling.md").read_text(encoding="utf-8")
STARTS = 120.0
"""Seconds: several processes start on a machine that others use too."""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Return the page's relay.toml."""
    (found,) = re.findall(r"^`relay\.toml`:\n\n```toml\n(.+?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    file = tmp_path / "relay.toml"
    file.write_text(found, encoding="utf-8")
    return file


@pytest.fixture
def bare(isolated: Isolated, tmp_path: Path) -> Iterator[Stage]:
    """Yield a stage without a slot."""
    with staged(isolated, tmp_path) as stage:
        yield stage


def published(tap: Tap, count: int, *, seconds: float = STARTS) -> list[str]:
    """Return the ids of the messages, once there are `count` or more."""
    tap.grows(count - 1, seconds=seconds)
    return [delivery.message for delivery in tap.drain()]


def events(stage: Stage, count: int, aggregate: str) -> list[str]:
    return [str(each) for each in stage.publish_in_one_transaction(count, aggregate)]


def test_two_relays_run_it_and_then_the_wal_goes_on_where_they_ended(bare: Stage, recipe: Path) -> None:
    setup = bare.run("relay", "setup", "--config", str(recipe))
    assert setup.process.returncode == 0, setup.tail()
    assert bare.value("SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s", bare.isolated.name) == 0
    tap = Tap(bare.isolated.amqp_url, queue=bare.isolated.queue("tap"), exchange=bare.isolated.name)
    first = events(bare, 500, "first")
    pollers: list[Command] = [bare.start("relay", "run", "--config", str(recipe)) for _ in range(2)]
    for poller in pollers:
        assert poller.logged("streaming", seconds=STARTS)["source"] == "polling"
    assert sorted(published(tap, 500)) == sorted(first)

    second = events(bare, 500, "second")  # both wait for their next poll, which is 10 s later at most
    assert sorted(published(tap, 500)) == sorted(second)

    assert bare.run("relay", "setup").process.returncode == 0
    successor = bare.start("relay", "run")
    successor.logged("standby", seconds=STARTS)
    third = events(bare, 500, "third")
    assert [poller.terminate() for poller in pollers] == [0, 0]
    successor.streams(seconds=STARTS)
    fourth = events(bare, 500, "fourth")
    bare.confirmed()
    got = [delivery.message for delivery in tap.drain()]
    assert set(third + fourth) <= set(got)
    assert set(got) <= set(second + third + fourth), "only what was published in the last seconds comes again"
    assert [each for each in got if each in set(fourth)] == fourth, "in order, and once"


def test_the_leader_is_the_other_way(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`poll_leader = true` instead of `poll_lock`."""
    for name, value in {"DATABASE_URL": "postgresql://h/d", "AMQP_URL": "amqps://h"}.items():
        monkeypatch.setenv(f"RELAY_{name}", value)
    locked = load(RelaySettings, recipe)
    assert (locked.source, locked.poll_strategy, locked.poll_lock) == ("polling", "skip_locked", "advisory")
    assert locked.poll_interval == 10
    assert "`poll_leader = true` instead of `poll_lock`" in PAGE
    text = re.sub(r"^poll_lock = .*$", "poll_leader = true", recipe.read_text(encoding="utf-8"), flags=re.MULTILINE)
    recipe.write_text(text, encoding="utf-8")
    assert load(RelaySettings, recipe).poll_leader
