"""The benchmarks on real servers with small loads: they run, count correctly, and notice missing messages."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from bench.load import queues
from bench.load.queues import Kind
from bench.measures import drain, latency, memory, partitions, shadow, sources
from bench.stage import Stage, stage
from bench.watch import Watch
from outboxkit.amqp.connection import Connection
from outboxkit.errors import Problem
from sandbox import Sandbox
from sandbox.machine.waiting import until

WINDOW = 100
SECONDS = 30


@pytest.fixture(name="place")
def _place(sandbox: Sandbox) -> Iterator[Stage]:
    with stage(sandbox, window=WINDOW) as made:
        yield made


async def messages(amqp_url: str, queue: str, count: int) -> list[tuple[Any, ...]]:
    """Consume `count` messages of a queue; return everything that a consumer can see of them."""
    connection = await Connection.open(amqp_url, name="test")
    channel = await connection.channel()
    found: list[tuple[Any, ...]] = []
    complete = asyncio.Event()

    def on_message(_: object, method: Any, properties: Any, body: bytes) -> None:  # noqa: ANN401 - pika's
        found.append((properties.message_id, vars(properties), method.routing_key, body))
        if len(found) >= count:
            complete.set()

    await connection.call(channel.basic_consume, queue, on_message, auto_ack=True)
    async with asyncio.timeout(SECONDS):
        await complete.wait()
    await connection.close()
    return sorted(found, key=lambda message: str(message[0]))


def test_relay_and_ceiling_publish_the_same_messages(place: Stage) -> None:
    place.write_backlog(50, per_transaction=7)
    frames = place.place / "frames"
    place.encode(frames)
    seen = []
    with place.queue("same", Kind.CLASSIC) as queue:
        place.rewind()
        for starting in (place.relay(), place.ceiling(frames)):
            with starting as publisher:
                samples = Watch(place, publisher).until_confirmed(50, every=0.05)
            assert samples[-1].confirmed == 50
            seen.append(asyncio.run(messages(place.amqp_url, queue, 50)))
    assert seen[0] == seen[1]
    assert [message[0] for message in seen[0]] == sorted(place.committed())


def test_a_backlog_has_the_requested_rows_in_each_transaction(place: Stage) -> None:
    place.write_backlog(25, per_transaction=10)
    with place.connect() as connection:
        sizes = connection.execute("SELECT count(*) FROM outbox.event GROUP BY xmin ORDER BY min(seq)").fetchall()
    assert [size for (size,) in sizes] == [10, 10, 5]


def test_a_returned_message_fails_the_ceiling(place: Stage) -> None:
    place.write_backlog(10, per_transaction=10)
    frames = place.place / "frames"
    place.encode(frames)
    with place.ceiling(frames) as publisher, pytest.raises(Problem, match="something else than a confirm"):
        Watch(place, publisher).until_confirmed(10, every=0.05)


def test_a_missing_message_is_noticed(place: Stage) -> None:
    place.write_backlog(10, per_transaction=10)
    with place.queue("missing", Kind.CLASSIC) as queue:
        place.rewind()
        with place.relay() as relay:
            Watch(place, relay).until_confirmed(10, every=0.05)
        asyncio.run(messages(place.amqp_url, queue, 1))  # all messages are prefetched, and so lost
        assert not asyncio.run(queues.collect(place.amqp_url, queue, Kind.CLASSIC, expected=10, idle_seconds=0.2))


@pytest.mark.parametrize("kind", list(Kind))
def test_drain_compares_on_every_kind_of_queue(sandbox: Sandbox, kind: Kind) -> None:
    (found,) = drain.compare(sandbox, kinds=[kind], rows=[100], events=400, pairs=1, window=WINDOW)
    assert (found.queue, found.rows_per_transaction, found.events, len(found.pairs)) == (kind, 100, 400, 1)
    (pair,) = found.pairs
    assert found.ratio == pair.ratio == pair.relay.events_per_second / pair.ceiling.events_per_second
    assert pair.relay.duplicates == pair.ceiling.duplicates == 0


def test_cpu_is_measured_for_each_size_of_transaction(sandbox: Sandbox) -> None:
    found = drain.cost(sandbox, rows=[1, 100], events=300, runs=2, window=WINDOW)
    assert [(each.rows_per_transaction, len(each.runs)) for each in found] == [(1, 2), (100, 2)]
    assert all(each.cpu_per_event >= 0 for each in found)


def test_latency_is_positive_and_measured_for_every_event(sandbox: Sandbox) -> None:
    (found,) = latency.measure(sandbox, kinds=[Kind.QUORUM], rates=[50], seconds=4, window=WINDOW)
    assert found.events == 200
    assert 25 < found.achieved < 100
    assert 0 < found.delivered_ms.p50 <= found.delivered_ms.p99 <= found.delivered_ms.max
    assert 0 <= found.confirmed_within["3"] <= found.confirmed_within["20"] <= 1
    assert 0 < max(found.p50_ms["receive"], found.p50_ms["confirm"]) <= found.p50_ms["total"]


def test_memory_is_measured_in_a_large_transaction(sandbox: Sandbox) -> None:
    found = memory.large_transaction(sandbox, events=2000, window=WINDOW)
    assert found.events == 2000
    assert 10 < found.before_mb <= found.peak_mb


def test_memory_is_measured_while_the_broker_is_down(sandbox: Sandbox) -> None:
    found = memory.broker_outage(sandbox, rate=20, seconds=2, window=WINDOW)
    assert found.events == 20 * (2 + 2 + 2)
    assert found.seconds > 2


def test_sources_are_measured_side_by_side(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "REPORTED_WITHIN", 0)
    ways = [sources.WAL, *(way for way in sources.WAYS if way.name in {"polling, 100 ms", "polling, 10 s, notify"})]
    found = sources.compare(sandbox, events=300, runs=1, rate=50, seconds=2, idle=6, window=WINDOW, seed=1, ways=ways)
    assert [each.way for each in found] == ["WAL", "polling, 100 ms", "polling, 10 s, notify"]
    for each in found:
        assert each.events_per_second > 0
        assert each.wal_bytes > 0
        assert 0 < each.even.delivered_ms.p50 <= each.even.delivered_ms.p99
        assert each.even.idle.transactions > 0
    wal, polling, notified = found
    assert wal.of_wal == 1
    assert polling.even.idle.relay_cpu_ms > notified.even.idle.relay_cpu_ms
    assert notified.even.delivered_ms.p50 < 5_000, "the interval is ten seconds, so it was not woken"


def test_a_shadow_is_measured_beside_a_relay_without_one(sandbox: Sandbox) -> None:
    measured = shadow.compare(sandbox, events=200, rate=50, seconds=2, pairs=1, window=WINDOW)
    backlog, flood, paced = islice(measured, 3)
    assert [each.load for each in (backlog, flood, paced)] == ["backlog", "flood", "paced"]
    assert all(each.ratio > 0 for each in (backlog, flood, paced))
    assert [each.compared for each in (*paced.without, *paced.beside)] == [0, 100]
    assert not any(each.differences for each in (*flood.beside, *paced.beside))


def test_two_relays_that_share_an_outbox_are_measured_beside_one(sandbox: Sandbox) -> None:
    found = partitions.compare(sandbox, relays=2, events=400, runs=1, window=WINDOW)
    assert [each.form for each in found] == [
        "one relay, one queue",
        "one relay, 2 queues by hash",
        "2 relays, 2 queues by hash",
    ]
    assert found[0].of_one == 1
    for form in found:
        assert [len(run.by_queue) for run in form.runs] == [form.queues]
        assert all(sum(run.by_queue) == 400 and min(run.by_queue) > 0 for run in form.runs)
        assert all(run.duplicates == 0 for run in form.runs)
        assert form.events_per_second > 0
        assert form.walsenders_us is None or form.walsenders_us >= 0


def test_the_command_writes_its_report(sandbox: Sandbox, tmp_path: Path) -> None:
    to = tmp_path / "report.json"
    words = ["drain", "--events", "200", "--pairs", "1", "--rows", "100", "--queue", "classic", "--json", str(to)]
    servers = {"SANDBOX_DATABASE_URL": sandbox.servers.database_url, "SANDBOX_AMQP_URL": sandbox.servers.amqp_url}
    done = subprocess.run(
        [Path(sys.executable).parent / "bench", *words],
        env=os.environ | servers,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "ceiling" in done.stdout
    report = json.loads(to.read_text())
    assert set(report) == {"surroundings", "drain"}
    assert report["surroundings"]["settings"] == {"RELAY_MAX_IN_FLIGHT": "1000"}
    assert report["drain"][0]["pairs"][0]["relay"]["events_per_second"] > 0


def test_a_relay_that_ends_fails_the_measurement_with_its_last_line(place: Stage) -> None:
    with place.relay() as relay:  # its slot is not made yet, so it refuses to run

        def ended() -> bool:
            try:
                relay.program.check()
            except Problem as problem:
                return "has replication slot" in problem.what
            return False

        until(ended, what="the relay has ended", seconds=SECONDS)
