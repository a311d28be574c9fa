"""Two relays of one name: one is active, the other logs that it is a standby, and takes over, whatever is read."""

import signal

import pytest

from tests.support.roles import role
from tests.support.stage import Stage

SOURCES = pytest.mark.parametrize(("source", "read"), [("auto", "wal"), ("polling", "polling")])
HOLDER = """
    SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'relay leader'
"""
PATIENCE = {"PGOPTIONS": "-c wal_sender_timeout=10s"}
"""A relay that is frozen while it streams keeps its slot for this long; Postgres's default is a minute."""
TAKEOVER_SECONDS = 90
"""A frozen relay's session ends after ten seconds; the standby asks again at most half a minute later, and begins."""


@SOURCES
def test_the_second_relay_stands_by_and_takes_over_when_the_first_dies(stage: Stage, source: str, read: str) -> None:
    """The second one has its own role, with only the rights that a relay needs."""
    tap = stage.set_up(RELAY_SOURCE=source)
    consumer = stage.consumer()
    first = stage.start("relay", "run", RELAY_SOURCE=source)
    first.logged("streaming", source=read)
    holder = stage.value(HOLDER)
    attributes = "LOGIN REPLICATION" if source == "auto" else "LOGIN"
    with role(stage.isolated.database_url, attributes, "relay") as url:
        second = stage.start("relay", "run", RELAY_SOURCE=source, RELAY_DATABASE_URL=url)
        line = second.logged("standby")
        assert f"relay 'relay' is active elsewhere: 'relay leader', pid {holder}" in line["reason"]
        assert "takes over" in line["remedy"]

        load = stage.submit("--count", "1000000", "--writers", "2", "--batch", "10", "--rate", "300")
        stage.applied(100)
        first.kill()
        second.logged("streaming", seconds=TAKEOVER_SECONDS, source=read)
        stage.applied(len(stage.ids()) + 100)
        assert load.terminate() == 143, load.tail()
        stage.applied(len(stage.ids()))
        assert second.terminate() == 0

    assert consumer.terminate() == 0
    stage.judge(tap)
    events = [line["event"] for line in second.log if line["event"] != "slot budget"]
    waited = events[1 : events.index("streaming")]
    assert events[0] == "publishing"
    assert set(waited) == {"standby"}, "once more where the killed relay's session still holds the slot"
    assert second.sources == [read]
    assert events[-1] == "stopped"


@SOURCES
def test_a_relay_that_was_frozen_is_replaced_and_publishes_nothing_when_it_wakes(
    stage: Stage, source: str, read: str
) -> None:
    tap = stage.set_up(RELAY_SOURCE=source)
    first = stage.start("relay", "run", RELAY_SOURCE=source, **PATIENCE)
    first.logged("streaming", source=read)
    before = stage.publish_in_one_transaction(10, "before")
    stage.published()
    second = stage.start("relay", "run", RELAY_SOURCE=source, **PATIENCE)
    second.logged("standby")

    first.process.send_signal(signal.SIGSTOP)
    meanwhile = stage.publish_in_one_transaction(10, "meanwhile")
    second.logged("streaming", seconds=TAKEOVER_SECONDS, source=read)
    stage.published()
    first.process.send_signal(signal.SIGCONT)
    first.logged("standby")
    after = stage.publish_in_one_transaction(10, "after")
    stage.published()
    assert second.terminate() == 0
    assert first.terminate() == 0

    assert stage.judge(tap, [*before, *meanwhile, *after]).duplicates == 0


def test_a_relay_its_standby_and_a_command_have_room_in_the_limit_of_their_role(stage: Stage) -> None:
    """Fifteen sessions are what `relay check` asks for at least."""
    tap = stage.set_up()
    with role(stage.isolated.database_url, "LOGIN REPLICATION CONNECTION LIMIT 15", "relay") as url:
        settings = {"RELAY_DATABASE_URL": url, "RELAY_POLL_NOTIFY": "true"}
        first = stage.start("relay", "run", **settings)
        first.streams()
        second = stage.start("relay", "run", **settings)
        second.logged("standby")
        events = stage.publish_in_one_transaction(10, "1")
        stage.confirmed()
        status = stage.run("relay", "status", "--json", **settings)
        assert status.process.returncode == 0, status.tail()
        assert first.terminate() == 0
        second.streams()
        assert second.terminate() == 0
    assert "too many connections" not in first.stderr + second.stderr
    assert stage.judge(tap, events).duplicates == 0
