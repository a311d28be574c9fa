"""`relay status` on real servers: what SQL shows, what only the running relay knows, and what is unknown without it."""

import json
import os
import re
import signal
import socket
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import psycopg
import pytest

from relay.operating.status import last_error as errors
from relay.operating.status import local_relay
from sandbox import Isolated
from sandbox.machine.ports import free
from sandbox.machine.waiting import until
from tests.integration.relay.stage import call, environment, one, own_address, publish
from tests.support.proxy import Proxy
from tests.support.stage import Stage


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return an address that nobody listens at; a relay there may take its time to answer."""
    monkeypatch.setattr(local_relay, "_TIMEOUT", 30.0)
    return f"127.0.0.1:{free(1, taken=frozenset())[0]}"


def test_without_a_relay_it_shows_the_backlog_and_its_age(streaming: Isolated) -> None:
    publish(streaming.database_url, "a", "b")
    publish(streaming.database_url, "c")
    shown = call(environment(streaming), "status", "--json").json
    assert (shown["mode"], shown["active"], shown["standbys"]) == ("none", None, 0)
    assert shown["lsn"]["confirmed_flush"] == shown["lsn"]["checkpoint"] != shown["lsn"]["current"]
    assert shown["lag_bytes"] > 0
    assert shown["backlog"]["events"] == 3
    assert shown["backlog"]["complete"]
    assert shown["lag_seconds"] == shown["backlog"]["lag_seconds"] > 0
    assert (shown["in_flight"], shown["parked"]) == (None, 0)
    since = r"( since [\d-]+ [\d:]+ UTC)?"  # known from PostgreSQL 17 on
    assert re.fullmatch(rf"no relay streams from replication slot '{streaming.name}'{since}", shown["last_error"])
    assert (
        one(
            streaming.database_url,
            "SELECT count(*) FROM pg_replication_slots WHERE temporary AND database = %s",
            streaming.name,
        )
        == 0
    )


LEADER = """
    SELECT a.pid FROM pg_stat_activity AS a
    JOIN pg_locks AS l ON l.pid = a.pid AND l.locktype = 'advisory' AND l.granted
    WHERE a.datname = current_database() AND a.application_name = 'relay leader'
"""


def test_a_running_relay_and_its_standby_are_shown(stage: Stage, address: str) -> None:
    tap = stage.set_up()
    relay = stage.start("relay", "run", RELAY_HTTP_ADDRESS=address)
    relay.streams()
    standby = stage.start("relay", "run")
    standby.logged("standby")
    stage.publish_in_one_transaction(5, "a")
    stage.confirmed()
    variables = environment(stage.isolated, RELAY_HTTP_ADDRESS=address)
    shown = until(
        lambda: (found := call(variables, "status", "--json").json)["lsn"]["checkpoint"] and found,
        what="status answers",
        seconds=60,
    )
    assert shown["mode"] == "wal"
    assert shown["active"]["application_name"] == "relay leader"
    assert shown["active"]["pid"] == one(stage.isolated.database_url, LEADER)
    assert shown["active"]["client_address"] == own_address(stage.isolated.database_url)
    assert shown["standbys"] == 1
    assert (shown["in_flight"], shown["backlog"]) == (0, None)
    assert shown["lag_seconds"] < 30
    assert shown["last_error"] is None
    assert tap.waiting() == 5
    assert call(variables, "status").code == 0
    assert call(variables, "status", "--max-lag", "0").code == 3
    strangers = call({**variables, "RELAY_NAME": "another"}, "status", "--json").json
    assert strangers["in_flight"] is None
    assert strangers["backlog"]["complete"]
    elsewhere = call(environment(stage.isolated), "status", "--json").json
    assert elsewhere["in_flight"] is None
    assert elsewhere["backlog"]["complete"]


def test_a_switch_to_the_wal_waits_for_a_time_without_a_fault_only_where_the_relay_does(ready: Isolated) -> None:
    def waits() -> str:
        return str(call(environment(ready), "status", "--json").json["switch_waits_for"])

    backlog = "the rest of the backlog, which is polled first; the relay's log names a fault of the WAL"
    assert waits() == "this relay, which is not active"
    with psycopg.connect(ready.database_url, autocommit=True, application_name="relay leader") as relay:
        relay.execute("SELECT pg_advisory_lock(hashtextextended('outbox-relay relay', 0))")
        assert waits() == backlog, "the first start"
        relay.execute("UPDATE relay.checkpoint SET lsn = '0/10'")
        assert waits().startswith("60 s without a fault of the WAL")
        relay.execute("UPDATE relay.checkpoint SET wanted = 'wal'")
        assert waits() == backlog
        relay.execute("UPDATE relay.checkpoint SET making_slot = true")
        assert waits().startswith("the end of ")


def test_parked_events_are_counted_and_the_latest_is_named(stage: Stage) -> None:
    relay = stage.start("relay", "run")
    relay.streams()
    publish(stage.isolated.database_url, "nobody takes it")
    relay.logged("events parked")
    shown = call(environment(stage.isolated), "status", "--json").json
    assert shown["parked"] == 1
    assert "returned: no queue takes routing key 'order.paid'" in shown["last_error"]


def test_a_database_without_the_schema_has_a_status(isolated: Isolated) -> None:
    with psycopg.connect(isolated.database_url) as connection:
        connection.execute("DROP SCHEMA relay, outbox, tasks CASCADE")
    shown = call(environment(isolated), "status", "--json").json
    assert shown["last_error"] == f"replication slot '{isolated.name}' does not exist"
    assert (shown["parked"], shown["lsn"]["checkpoint"], shown["backlog"]) == (None, None, None)
    assert call(environment(isolated), "status").code == 3


def test_an_unreachable_server_is_a_problem(isolated: Isolated, address: str) -> None:
    url = f"postgresql://postgres:planted@{address}/{isolated.name}"
    said = call(environment(isolated, RELAY_DATABASE_URL=url), "status")
    assert said.code == 1
    assert "Postgres is not available" in said.output
    assert "planted" not in said.output


def test_watch_prints_throughput_until_it_is_ended(stage: Stage, address: str) -> None:
    tap = stage.set_up()
    relay = stage.start("relay", "run", RELAY_HTTP_ADDRESS=address)
    relay.streams()
    watch = stage.start("relay", "status", "--watch", "--every", "0.2", "--json", RELAY_HTTP_ADDRESS=address)

    def rates() -> list[float]:
        lines = [json.loads(line) for line in watch.stdout.splitlines(keepends=True) if line.endswith("\n")]
        return [line["throughput"]["events_per_second"] for line in lines if line["throughput"] is not None]

    until(rates, what="watch prints", seconds=60)
    stage.publish_in_one_transaction(50, "a")
    until(lambda: any(rates()), what="events are seen to pass", seconds=60)
    tap.grows(49)
    assert tap.waiting() == 50
    watch.process.send_signal(signal.SIGINT)
    assert watch.ended() == 0
    assert watch.stderr == ""


def test_watch_flushes_into_a_pipe_and_ends_when_its_reader_leaves(stage: Stage) -> None:
    stage.set_up()
    reader, writer = os.pipe()
    watch = stage.start_into(writer, "relay", "status", "--watch", "--every", "0.2")
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as lines:
        shown = [next(lines) for _ in range(20)]
    assert [each.split() for each in shown if "mode" in each] == [["mode", "none"]] * 2
    assert watch.ended() == 0
    assert watch.stderr == ""


def last_error(isolated: Isolated, **settings: str) -> str:
    """Return the last error of `relay status`; empty if there is none."""
    return str(call(environment(isolated, **settings), "status", "--json").json["last_error"] or "")


def test_a_returned_message_that_holds_the_stream_is_an_error_until_a_queue_takes_it(
    stage: Stage, address: str
) -> None:
    relay = stage.start("relay", "run", RELAY_ON_RETURN="retry", RELAY_HTTP_ADDRESS=address)
    relay.streams()
    publish(stage.isolated.database_url, "nobody takes it")
    relay.logged("message returned")
    shown = last_error(stage.isolated, RELAY_HTTP_ADDRESS=address)
    assert shown.startswith("RabbitMQ does not accept a message")
    tap = stage.set_up()
    stage.confirmed()
    assert tap.waiting() == 1
    until(lambda: not last_error(stage.isolated, RELAY_HTTP_ADDRESS=address), what="nothing is wrong", seconds=60)


def test_a_nacked_message_is_logged_once_and_is_an_error_until_its_queue_has_room(stage: Stage, address: str) -> None:
    tap, full = stage.set_up(), stage.isolated.queue("full")
    with tap.channel() as channel:
        channel.queue_declare(full, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
        channel.queue_bind(full, stage.settings["RELAY_EXCHANGE"], "#")
    relay = stage.start("relay", "run", RELAY_HTTP_ADDRESS=address)
    relay.streams()
    publish(stage.isolated.database_url, "fills it")
    stage.confirmed()
    (nacked,) = publish(stage.isolated.database_url, "is too much")
    line = relay.logged("message nacked")
    assert line["message_id"] == nacked
    assert "relay slot skip" in line["remedy"]
    shown = last_error(stage.isolated, RELAY_HTTP_ADDRESS=address)
    assert shown.startswith("RabbitMQ does not accept a message")
    with tap.channel() as channel:
        channel.queue_purge(full)
    stage.confirmed()
    until(lambda: not last_error(stage.isolated, RELAY_HTTP_ADDRESS=address), what="nothing is wrong", seconds=60)
    assert [each["event"] for each in relay.log].count("message nacked") == 1


def test_a_refused_message_is_logged_once_and_is_an_error_until_its_exchange_exists(stage: Stage, address: str) -> None:
    tap, missing = stage.set_up(), stage.isolated.exchange("missing")
    with Proxy(stage.isolated.amqp_url) as proxy:
        relay = stage.start("relay", "run", RELAY_AMQP_URL=proxy.url, RELAY_HTTP_ADDRESS=address)
        relay.streams()
        refused = stage.value("SELECT outbox.publish('order', '1', 1, 'paid', '{}', exchange => %s)::text", missing)
        line = relay.logged("message refused")
        assert (line["message_id"], line["exchange"], line["routing_key"]) == (refused, missing, "order.paid")
        assert "answered 404" in line["reason"]
        assert "relay slot skip" in line["remedy"]
        shown = last_error(stage.isolated, RELAY_HTTP_ADDRESS=address)
        assert shown.startswith("RabbitMQ does not accept a message")
        asked = proxy.asked
        until(lambda: proxy.asked > asked + 1, what="it has been tried twice more", seconds=60)
        tap.declare(missing)
        stage.confirmed()
        until(lambda: not last_error(stage.isolated, RELAY_HTTP_ADDRESS=address), what="nothing is wrong", seconds=60)
        assert tap.waiting() == 1
        lines = [each["event"] for each in relay.log]
        assert [lines.count(each) for each in ("broker not available", "message refused", "publishing")] == [1, 1, 2]


def test_a_stream_that_sends_nothing_is_an_error_by_the_relay_and_by_postgres(
    stage: Stage, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errors, "_COMES_WITHIN", 2.0)
    monkeypatch.setattr(errors, "_REPORTS_WITHIN", timedelta(seconds=2))
    stage.set_up()
    with Proxy(stage.isolated.database_url) as proxy:
        relay = stage.start("relay", "run", RELAY_DATABASE_URL=proxy.url, RELAY_HTTP_ADDRESS=address)
        relay.streams()
        until(lambda: not last_error(stage.isolated, RELAY_HTTP_ADDRESS=address), what="nothing is wrong", seconds=60)
        proxy.swallow_to_client.set()
        proxy.swallow_to_server.set()

        def reports(words: str, **settings: str) -> bool:
            return words in last_error(stage.isolated, **settings)

        here = {"RELAY_HTTP_ADDRESS": address}
        until(lambda: reports("the stream has sent nothing", **here), what="the relay reports it", seconds=30)
        until(lambda: reports("has had no status update for"), what="Postgres reports it", seconds=30)
        relay.kill()


class _Stranger(BaseHTTPRequestHandler):
    """Answers, and is no relay."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        del format, args


def test_another_server_at_the_address_is_not_taken_for_the_relay(address: str) -> None:
    assert local_relay.ask(address) is None
    assert local_relay.ask(None) is None
    with HTTPServer(("127.0.0.1", 0), _Stranger) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            assert local_relay.ask(f"127.0.0.1:{server.server_port}") is None
        finally:
            server.shutdown()
            thread.join()


def test_a_port_that_does_not_answer_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_relay, "_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert local_relay.ask(f"127.0.0.1:{silent.getsockname()[1]}") is None
