"""The comparison on real servers with small sizes: its writers, its controls, its phases, and the command."""

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from bench.compare import arms, results
from bench.compare.arms import Way
from bench.compare.planning.workload import committed
from bench.compare.results import Correctness, Phase
from bench.compare.run import loading, phases
from bench.compare.run.reading import clock
from bench.compare.run.scene import Scene, scene
from sandbox import Sandbox, SandboxSettings, start
from tests.integration.bench.compare.planned import MIXED, TINY, planned

SECONDS = 30
NONE, LAST_ID, ONE_CONFIRM = map(arms.named, ("no relay", "control: last id", "control: one confirm at a time"))


def by_kind(found: tuple[Phase, ...]) -> dict[str, Phase]:
    return {phase.kind: phase for phase in found}


def test_writers_follow_the_schedule(sandbox: Sandbox) -> None:
    with scene(sandbox, planned(), NONE) as made:
        loaded = loading.run(made, MIXED, 2, "1")
        versions = made.place.execute("bench_compare_events", after=0)
    kept = {number for number, each in enumerate(loaded.transactions) if not each.rolls_back}
    assert 0 < len(kept) < len(loaded.transactions)
    assert loaded.commits.keys() == kept
    assert len(loaded.events) == committed(loaded.transactions)
    assert min(loaded.late) >= 0
    of: dict[str, list[int]] = defaultdict(list)
    for _, aggregate, version, _ in versions:
        of[aggregate].append(version)
    assert all(sorted(each) == list(range(1, len(each) + 1)) for each in of.values())
    last = {event.aggregate: event for event in sorted(loaded.events, key=lambda event: event.version)}
    assert all(last[event.aggregate].committed_at >= event.committed_at for event in loaded.events)


def inserted(connection: psycopg.Connection[Any]) -> str:
    (event_id,) = connection.execute(
        "INSERT INTO outbox.event (aggregate_type, aggregate_id, aggregate_version, event_type, payload)"
        " VALUES ('order', '1', 1, 'placed', '{}') RETURNING id::text"
    ).fetchone() or (None,)
    return str(event_id)


def passed(made: Scene) -> list[str]:
    """Let a row with a lower number commit after one with a greater number was published; return who arrives."""
    made.settle()
    made.start()
    made.ready()
    made.consume()
    with made.place.connect() as slow, made.place.connect() as fast:
        with slow.transaction():
            names = {inserted(slow): "early number, late commit"}
            names[second := inserted(fast)] = "late number, early commit"
            made.arrived.until({second}, patience=SECONDS, at_most=SECONDS)
        names[third := inserted(fast)] = "last"
        come = made.arrived.until({third}, patience=SECONDS, at_most=SECONDS)
    made.check()
    return [names[arrival.id] for arrival in come.arrivals]


def test_last_id_polling_passes_over_a_row_that_commits_late(sandbox: Sandbox) -> None:
    with scene(sandbox, planned(), LAST_ID) as made:
        assert passed(made) == ["late number, early commit", "last"]


@pytest.mark.parametrize("way", [ONE_CONFIRM, arms.named("polling, 100 ms")], ids=lambda way: way.arm.name)
def test_others_publish_a_row_that_commits_late(sandbox: Sandbox, way: Way) -> None:
    with scene(sandbox, planned(), way) as made:
        assert sorted(passed(made)) == ["early number, late commit", "last", "late number, early commit"]


def test_one_confirm_at_a_time_marks_each_row(sandbox: Sandbox) -> None:
    with scene(sandbox, planned(), ONE_CONFIRM) as made:
        assert passed(made)
        with made.place.connect() as connection:
            deadline = time.monotonic() + SECONDS
            unmarked = 1
            while unmarked and time.monotonic() < deadline:
                (unmarked,) = connection.execute(
                    "SELECT count(*) FROM outbox.event WHERE published_at IS NULL"
                ).fetchone() or (1,)
    assert unmarked == 0


@pytest.mark.parametrize(
    "way",
    [
        arms.named(name)
        for name in (
            "WAL (pgoutput)",
            "polling, notify",
            "skip_locked, 4 pollers",
            "control: last id",
            ONE_CONFIRM.arm.name,
        )
    ],
    ids=lambda way: way.arm.name,
)
def test_a_run_measures_a_drain_and_a_load(sandbox: Sandbox, way: Way) -> None:
    found = phases.run(sandbox, planned(), way, repetition=1)
    assert found.not_measured is None
    drain, load = found.phases
    assert (drain.kind, load.kind) == ("drain", "load")
    assert drain.correctness is not None
    reordered = 0 if way.arm.ordered else drain.correctness.reordered  # as it comes: no order is promised
    assert drain.correctness == Correctness(50 if way.slow else 200, missed=0, duplicated=0, reordered=reordered)
    assert drain.figures["drain_rate"].value > 0
    assert drain.figures["wal_bytes"].value > 0
    assert load.correctness is not None
    assert load.correctness.committed == load.latencies["confirmed"].count + load.correctness.missed
    if way.arm.family != "control":
        assert load.correctness.missed == 0
    assert load.latencies["applied"].quantile(0.5) >= load.latencies["confirmed"].quantile(0.5) > 0
    assert load.figures["writer_commits"].value > 10
    assert load.figures["relay_rss"].value > 10_000_000 * way.processes
    assert "vacuum_seconds" in load.figures


def test_the_writers_alone_are_measured_too(sandbox: Sandbox) -> None:
    found = phases.run(sandbox, planned(), NONE, repetition=0)
    assert found.not_measured is None
    (load,) = found.phases
    assert load.correctness is None
    assert load.figures["writer_commit_p99"].value > 0
    assert "relay_cpu" not in load.figures


def test_the_first_run_of_an_arm_has_rates_idleness_and_incidents(sandbox: Sandbox) -> None:
    # Postgres extends a table by more than is needed where several sessions wait for that: 300 rows can fit in.
    made = replace(planned(rates=(20.0, 40.0)), sizes=replace(TINY, large_rows=5000))
    way = arms.named("WAL (wal2json)")
    found = phases.run(sandbox, made, way, repetition=0)
    assert found.not_measured is None
    kinds = by_kind(found.phases)
    assert list(kinds) == ["drain", "load", "rates", "idle", "outage", "large"]
    assert [step.offered for step in kinds["rates"].steps] == [20, 40]
    assert kinds["idle"].figures["idle_relay_cpu"].value >= 0
    outage, large = kinds["outage"], kinds["large"]
    assert outage.not_measured is None
    assert outage.correctness is not None
    assert outage.correctness.missed == 0
    assert outage.marks["broker up"] - outage.marks["broker down"] >= 1
    assert outage.figures["peak_lag"].value >= 0.5
    assert max(value for _, value in outage.series["retained_bytes"].points) > 0
    assert large.correctness is not None
    assert large.correctness.committed > 5000
    assert large.correctness.missed == 0
    assert large.figures["peak_table_growth"].value > 0


@pytest.fixture
def named(sandbox: Sandbox) -> Iterator[Sandbox]:
    """Use the same servers as if they were somebody else's."""
    servers = sandbox.servers
    with start(SandboxSettings(database_url=servers.database_url, amqp_url=servers.amqp_url)) as box:
        yield box


def test_on_servers_of_somebody_else_each_figure_that_cannot_be_measured_says_why(named: Sandbox) -> None:
    found = phases.run(named, planned(), arms.named("WAL (pgoutput)"), repetition=0)
    assert found.not_measured is None
    kinds = by_kind(found.phases)
    for kind, cpu in (("drain", "database_cpu"), ("load", "database_cpu"), ("idle", "idle_database_cpu")):
        assert "was not started by the sandbox" in kinds[kind].unknown[cpu]
        assert cpu not in kinds[kind].figures
    assert "relay_cpu" in kinds["drain"].figures  # the relay is ours; of so few events it may take less than a tick
    assert kinds["load"].latencies["confirmed"].quantile(0.5) > 0
    assert "named by SANDBOX_DATABASE_URL or SANDBOX_AMQP_URL is never" in (kinds["outage"].not_measured or "")
    assert kinds["large"].correctness is not None
    assert kinds["large"].correctness.missed == 0


def test_the_clock_of_a_server_elsewhere_is_known(sandbox: Sandbox) -> None:
    with sandbox.isolated() as isolated, psycopg.connect(isolated.database_url, autocommit=True) as connection:
        assert clock.ahead(connection) == 0  # it is this machine's
        connection.execute("CREATE SCHEMA other")
        connection.execute(
            "CREATE FUNCTION other.clock_timestamp() RETURNS timestamptz LANGUAGE sql"
            " AS $$SELECT pg_catalog.clock_timestamp() - interval '90 s'$$"
        )
        connection.execute("SET search_path = other, pg_catalog")
        assert clock.ahead(connection) == pytest.approx(-90, abs=5)


def test_an_arm_that_cannot_run_says_why(sandbox: Sandbox) -> None:
    way = Way(results.Arm("WAL (other)", "wal", settings={"RELAY_SOURCE": "wal", "RELAY_PLUGIN": "other"}))
    found = phases.run(sandbox, planned(), way, repetition=1)
    assert found.phases == ()
    assert found.not_measured is not None
    assert "RELAY_PLUGIN" in found.not_measured


def test_the_command_keeps_its_results_and_goes_on(sandbox: Sandbox, tmp_path: Path) -> None:
    workload, out = tmp_path / "mine.toml", tmp_path / "out"
    workload.write_text('[[load]]\nname = "mine"\nrate = 20\n')
    words = ["--quick", "--arm", "no relay", "--repetitions", "1", "--seed", "5", "--out", str(out)]
    servers = {"SANDBOX_DATABASE_URL": sandbox.servers.database_url, "SANDBOX_AMQP_URL": sandbox.servers.amqp_url}

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [Path(sys.executable).parent / "bench", "compare", *words, *more],
            env=os.environ | servers,
            capture_output=True,
            text=True,
            check=False,
        )

    done = run("--workload", str(workload))
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 of 1: no relay, 1 of 1" in done.stdout
    found = results.read(out / "report" / "results.json")
    assert [run.arm for run in found.runs] == ["no relay"]
    assert found.surroundings.seed == 5
    assert found.surroundings.settings["servers"] == "those of SANDBOX_DATABASE_URL and SANDBOX_AMQP_URL"
    unknown = "Not measured: CPU of Postgres per event: Postgres was not started by the sandbox"
    assert unknown in done.stdout.replace("\n", " ")
    assert "<html" in (out / "report" / "index.html").read_text()
    assert str(out / "report" / "index.html") in done.stdout.replace("\n", "")
    assert json.loads((out / "plan.json").read_text())["workload"]["load"][0]["name"] == "mine"
    again = run()
    assert (again.returncode, again.stderr) == (0, "")
    assert "1 of 1" not in again.stdout
