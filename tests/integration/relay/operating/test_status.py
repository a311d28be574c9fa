"""`relay status`: what SQL tells, what only the running relay tells, and what is said when neither does."""

import json
import re
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import psycopg
import pytest

from relay.operating.slot.statements import Slot
from relay.operating.status import reading as status
from relay.operating.status import sidecar as running
from relay.operating.status.reading import Parked, Status, last_error, throughput
from relay.operating.status.sidecar import Running
from sandbox import Isolated
from sandbox.machine.ports import free
from sandbox.machine.waiting import until
from tests.integration.relay_stage import call, environment, one, own_address, publish
from tests.support.proxy import Proxy
from tests.support.stage import Stage
from tests.unit.relay.operating.test_check_postgres import SLOT

RUNNING = Running(mode="wal", in_flight=3, lag_seconds=0.5, confirmed=10.0, blocked=False, held=False, not_ready=())
AT = datetime(2026, 1, 1, tzinfo=UTC)
STATUS = Status("relay", AT, "0/20", SLOT, None, 0, RUNNING, None, None, None)
HELD = replace(SLOT, holder_pid=7, holder_name="relay")
WAITING = Parked(1, AT, "returned: no queue")


@pytest.fixture
def address() -> str:
    """Return an address that nobody listens at."""
    return f"127.0.0.1:{free(1, taken=frozenset())[0]}"


def test_without_a_relay_it_tells_what_is_unconfirmed_since_when(ready: Isolated) -> None:
    publish(ready.database_url, "a", "b")
    publish(ready.database_url, "c")
    told = call(environment(ready), "status", "--json").json
    assert (told["mode"], told["active"], told["standbys"]) == ("none", None, 0)
    assert told["lsn"]["confirmed_flush"] == told["lsn"]["checkpoint"] != told["lsn"]["current"]
    assert told["lag_bytes"] > 0
    assert told["backlog"]["events"] == 3
    assert told["backlog"]["complete"]
    assert told["lag_seconds"] == told["backlog"]["lag_seconds"] > 0
    assert (told["in_flight"], told["parked"]) == (None, 0)
    since = r"( since [\d-]+ [\d:]+ UTC)?"  # known from PostgreSQL 17 on
    assert re.fullmatch(rf"no relay streams from replication slot '{ready.name}'{since}", told["last_error"])
    assert (
        one(
            ready.database_url,
            "SELECT count(*) FROM pg_replication_slots WHERE temporary AND database = %s",
            ready.name,
        )
        == 0
    )


def test_a_running_relay_and_its_standby_are_told(stage: Stage, address: str) -> None:
    tap = stage.set_up()
    relay = stage.start("relay", "run", RELAY_HTTP_ADDRESS=address)
    relay.logged("streaming")
    standby = stage.start("relay", "run")
    standby.logged("standby")
    stage.publish_in_one_transaction(5, "a")
    stage.confirmed()
    variables = environment(stage.isolated, RELAY_HTTP_ADDRESS=address)
    told = until(
        lambda: (found := call(variables, "status", "--json").json)["lsn"]["checkpoint"] and found,
        what="status answers",
        seconds=10,
    )
    assert told["mode"] == "wal"
    assert told["active"]["application_name"] == "relay"
    assert told["active"]["pid"] == one(
        stage.isolated.database_url,
        "SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s",
        stage.isolated.name,
    )
    assert told["active"]["client_address"] == own_address(stage.isolated.database_url)
    assert told["standbys"] == 1
    assert (told["in_flight"], told["backlog"]) == (0, None)
    assert told["lag_seconds"] < 30
    assert told["last_error"] is None
    assert tap.waiting() == 5
    elsewhere = call(environment(stage.isolated), "status", "--json").json
    assert elsewhere["in_flight"] is None
    assert elsewhere["backlog"]["complete"]


def test_what_is_parked_is_counted_and_told(stage: Stage) -> None:
    relay = stage.start("relay", "run")
    publish(stage.isolated.database_url, "nobody takes it")
    relay.logged("events parked")
    told = call(environment(stage.isolated), "status", "--json").json
    assert told["parked"] == 1
    assert "returned: no queue takes routing key 'order.paid'" in told["last_error"]


def test_a_database_without_the_schema_is_told_as_far_as_it_goes(isolated: Isolated) -> None:
    with psycopg.connect(isolated.database_url) as connection:
        connection.execute("DROP SCHEMA relay, outbox, tasks CASCADE")
    told = call(environment(isolated), "status", "--json").json
    assert told["last_error"] == f"replication slot '{isolated.name}' does not exist"
    assert (told["parked"], told["lsn"]["checkpoint"], told["backlog"]) == (None, None, None)
    assert call(environment(isolated), "status").code == 0


def test_an_unreachable_server_is_a_problem(isolated: Isolated, address: str) -> None:
    url = f"postgresql://postgres:planted@{address}/{isolated.name}"
    said = call(environment(isolated, RELAY_DATABASE_URL=url), "status")
    assert said.code == 1
    assert "Postgres is not available" in said.output
    assert "planted" not in said.output


def test_watch_prints_throughput_until_it_is_ended(stage: Stage, address: str) -> None:
    tap = stage.set_up()
    relay = stage.start("relay", "run", RELAY_HTTP_ADDRESS=address)
    relay.logged("streaming")
    watch = stage.start("relay", "status", "--watch", "--every", "0.2", "--json", RELAY_HTTP_ADDRESS=address)

    def rates() -> list[float]:
        lines = [json.loads(line) for line in watch.stdout.splitlines(keepends=True) if line.endswith("\n")]
        return [line["throughput"]["events_per_second"] for line in lines if line["throughput"] is not None]

    until(rates, what="watch prints", seconds=15)
    stage.publish_in_one_transaction(50, "a")
    until(lambda: any(rates()), what="events are seen to pass", seconds=15)
    assert tap.waiting() == 50
    assert watch.terminate() in {0, -15}


def told_error(isolated: Isolated, **settings: str) -> str:
    """Return the last error that status tells; empty if it tells none."""
    return str(call(environment(isolated, **settings), "status", "--json").json["last_error"] or "")


def test_a_message_that_holds_the_stream_is_told_until_a_queue_takes_it(stage: Stage, address: str) -> None:
    relay = stage.start("relay", "run", RELAY_ON_RETURN="retry", RELAY_HTTP_ADDRESS=address)
    relay.logged("streaming")
    publish(stage.isolated.database_url, "nobody takes it")
    relay.logged("message returned")
    told = told_error(stage.isolated, RELAY_HTTP_ADDRESS=address)
    assert told.startswith("a message that RabbitMQ does not take is tried again")
    tap = stage.set_up()
    stage.confirmed()
    assert tap.waiting() == 1
    until(lambda: not told_error(stage.isolated, RELAY_HTTP_ADDRESS=address), what="nothing is wrong", seconds=10)


def test_a_message_that_is_nacked_is_named_once_and_told_until_its_queue_has_room(stage: Stage, address: str) -> None:
    tap, full = stage.set_up(), stage.isolated.queue("full")
    with tap.channel() as channel:
        channel.queue_declare(full, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
        channel.queue_bind(full, stage.settings["RELAY_EXCHANGE"], "#")
    relay = stage.start("relay", "run", RELAY_HTTP_ADDRESS=address)
    relay.logged("streaming")
    publish(stage.isolated.database_url, "fills it")
    stage.confirmed()
    (nacked,) = publish(stage.isolated.database_url, "is too much")
    line = relay.logged("message nacked")
    assert line["message_id"] == nacked
    assert "relay slot skip" in line["remedy"]
    told = told_error(stage.isolated, RELAY_HTTP_ADDRESS=address)
    assert told.startswith("a message that RabbitMQ does not take is tried again")
    with tap.channel() as channel:
        channel.queue_purge(full)
    stage.confirmed()
    until(lambda: not told_error(stage.isolated, RELAY_HTTP_ADDRESS=address), what="nothing is wrong", seconds=10)
    assert [each["event"] for each in relay.log].count("message nacked") == 1


def test_a_message_that_is_refused_is_named_once_and_told_until_its_exchange_is_made(
    stage: Stage, address: str
) -> None:
    tap, missing = stage.set_up(), stage.isolated.exchange("missing")
    with Proxy(stage.isolated.amqp_url) as proxy:
        relay = stage.start("relay", "run", RELAY_AMQP_URL=proxy.url, RELAY_HTTP_ADDRESS=address)
        relay.logged("streaming")
        refused = stage.value("SELECT outbox.publish('order', '1', 1, 'paid', '{}', exchange => %s)::text", missing)
        line = relay.logged("message refused")
        assert (line["message_id"], line["exchange"], line["routing_key"]) == (refused, missing, "order.paid")
        assert "answered 404" in line["reason"]
        assert "relay slot skip" in line["remedy"]
        told = told_error(stage.isolated, RELAY_HTTP_ADDRESS=address)
        assert told.startswith("a message that RabbitMQ does not take is tried again")
        asked = proxy.asked
        until(lambda: proxy.asked > asked + 1, what="it has been tried twice more", seconds=20)
        with tap.channel() as channel:
            channel.exchange_declare(missing, "topic", durable=True)
            channel.queue_bind(tap.queue, missing, "#")
        stage.confirmed()
        until(lambda: not told_error(stage.isolated, RELAY_HTTP_ADDRESS=address), what="nothing is wrong", seconds=10)
        assert tap.waiting() == 1
        lines = [each["event"] for each in relay.log]
        assert [lines.count(each) for each in ("broker not available", "message refused", "publishing")] == [1, 1, 2]


def test_a_stream_that_brings_nothing_is_told_by_the_relay_and_by_postgres(
    stage: Stage, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "_COMES_WITHIN", 2.0)
    monkeypatch.setattr(status, "_REPORTS_WITHIN", timedelta(seconds=2))
    stage.set_up()
    with Proxy(stage.isolated.database_url) as proxy:
        relay = stage.start("relay", "run", RELAY_DATABASE_URL=proxy.url, RELAY_HTTP_ADDRESS=address)
        relay.logged("streaming")
        until(lambda: not told_error(stage.isolated, RELAY_HTTP_ADDRESS=address), what="nothing is wrong", seconds=10)
        proxy.swallow_to_client.set()
        proxy.swallow_to_server.set()

        def tells(words: str, **settings: str) -> bool:
            return words in told_error(stage.isolated, **settings)

        here = {"RELAY_HTTP_ADDRESS": address}
        until(lambda: tells("nothing has come through", **here), what="the relay tells it", seconds=10)
        until(lambda: tells("has had no report for"), what="Postgres tells it", seconds=10)
        relay.kill()


def test_the_last_error_is_the_worst_that_is_wrong_now() -> None:
    def told(slot: Slot | None, here: Running | None, parked: Parked | None = WAITING) -> str:
        return str(last_error("s", slot, here, parked, at=AT))

    lost, idle = replace(HELD, wal_status="lost"), replace(SLOT, inactive_since=AT)
    before = AT - timedelta(seconds=31)
    unheard, never_heard = replace(HELD, holder_reported_at=before), replace(HELD, holder_since=before)
    standby, lagging = replace(RUNNING, mode="standby"), replace(RUNNING, lag_seconds=61.0, not_ready=("lag",))
    assert told(None, None) == "replication slot 's' does not exist"
    assert told(lost, RUNNING) == "replication slot 's' is lost: WAL that it needed was removed"
    assert told(idle, None) == "no relay streams from replication slot 's' since 2026-01-01 00:00:00 UTC"
    assert "does not stream: not ready: source" in told(idle, replace(RUNNING, mode="none", not_ready=("source",)))
    assert "does not stream: not ready: source" in told(HELD, replace(RUNNING, mode="none", not_ready=("source",)))
    for here in (None, standby, replace(RUNNING, mode="none")):
        assert "'s' has had no report for 31 s" in told(unheard, here)
        assert "'s' has had no report for 31 s" in told(never_heard, here)
        assert "'s' has had no report" not in told(replace(never_heard, holder_reported_at=AT), here)
    assert "blocked" in told(HELD, replace(RUNNING, blocked=True, not_ready=("broker",)))
    assert told(HELD, replace(lagging, held=True, not_ready=("broker", "lag"))) == "the relay is not ready: broker, lag"
    assert "does not take" in told(HELD, replace(lagging, held=True))
    assert "nothing has come through the stream for 61 s" in told(HELD, replace(lagging, in_flight=0))
    assert told(HELD, lagging) == "the relay is not ready: lag"
    for here in (None, standby, RUNNING):
        assert told(HELD, here) == "parked at 2026-01-01 00:00:00 UTC: returned: no queue"
        assert told(HELD, here, Parked(0, None, None)) == "None"


def test_a_relay_that_streams_here_is_believed_whatever_its_clock_says_to_postgres() -> None:
    ahead = replace(HELD, holder_reported_at=AT - timedelta(hours=1))
    assert last_error("s", ahead, RUNNING, None, at=AT) is None


def test_throughput_is_what_passed_between_two_looks() -> None:
    moved: Slot = replace(SLOT, confirmed_flush_lsn="0/30")
    after = replace(STATUS, at=AT + timedelta(seconds=4), slot=moved, running=replace(RUNNING, confirmed=18.0))
    assert throughput(STATUS, after).events_per_second == 2.0
    assert throughput(STATUS, after).wal_bytes_per_second == 8.0
    restarted = replace(after, running=replace(RUNNING, confirmed=1.0))
    assert throughput(STATUS, restarted).events_per_second is None
    assert throughput(STATUS, replace(after, slot=None, running=None)).wal_bytes_per_second is None


class _Stranger(BaseHTTPRequestHandler):
    """Answers, and is no relay."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        del format, args


def test_whoever_else_answers_at_the_address_is_not_taken_for_the_relay(address: str) -> None:
    assert running.ask(address) is None
    assert running.ask(None) is None
    with HTTPServer(("127.0.0.1", 0), _Stranger) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            assert running.ask(f"127.0.0.1:{server.server_port}") is None
        finally:
            server.shutdown()
            thread.join()


def test_a_port_that_answers_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert running.ask(f"127.0.0.1:{silent.getsockname()[1]}") is None
