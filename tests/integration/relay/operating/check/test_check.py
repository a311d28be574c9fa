"""`relay check` on real servers: bare, ready, with faults, and not reachable. It changes and delivers nothing."""

import asyncio
import socket
import socketserver
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from pika.channel import Channel
from psycopg.sql import SQL, Identifier

from outboxkit.amqp.connection import Connection
from outboxkit.amqp.topology import declare_queue
from relay.operating.check.asking import postgres as asking_postgres
from relay.operating.setup.steps import setup
from sandbox import Isolated
from sandbox.machine.ports import free
from tests.integration.relay.stage import call, environment, held, one, settings
from tests.support.tap import Tap

Findings = dict[str, dict[str, Any]]


def check(isolated: Isolated, *arguments: str, code: int | None = None, **changes: str) -> Findings:
    """Return the findings by their ids; with `code`, the command must exit with it."""
    said = call(environment(isolated, **changes), "check", "--json", *arguments)
    findings = {finding["id"]: finding for finding in said.json["checks"]}
    failed = any(finding["status"] == "FAIL" for finding in findings.values())
    assert said.json["ok"] is not failed
    assert said.code == (3 if failed else 0)
    assert code is None or said.code == code, findings
    for finding in findings.values():
        assert set(finding) == {"id", "status", "summary", "remedy", "facts"}
        assert (finding["status"] == "OK") is not bool(finding["remedy"]), finding
        assert "\n" not in finding["remedy"]
    return findings


def statuses(findings: Findings, status: str) -> set[str]:
    return {identity for identity, finding in findings.items() if finding["status"] == status}


def test_a_ready_relay_passes_with_no_more_than_warnings(ready: Isolated) -> None:
    findings = check(ready, code=0)
    assert statuses(findings, "WARN") == {"postgres.slot_wal_limit", "role.excess"}
    assert statuses(findings, "UNKNOWN") == {"queue.type", "queue.dead_letters", "queue.delivery_limit"}
    assert findings["postgres.version"]["summary"].startswith("PostgreSQL ")
    assert findings["broker.version"]["summary"].startswith("RabbitMQ ")


def test_a_bare_database_lacks_what_setup_creates(isolated: Isolated) -> None:
    with psycopg.connect(isolated.database_url) as connection:
        connection.execute("DROP SCHEMA relay, outbox, tasks, inbox, outbox_setup CASCADE")
    findings = check(isolated, code=3)
    assert statuses(findings, "FAIL") == {
        "schema.version",
        "outbox.table",
        "slot.exists",
        "broker.exchange",
        "broker.publish",
    }
    assert all("relay setup" in findings[identity]["remedy"] for identity in statuses(findings, "FAIL"))
    assert findings["checkpoint.position"]["status"] == "UNKNOWN"


def test_a_schema_that_was_dropped_is_missed_until_setup_makes_it_again(ready: Isolated) -> None:
    with psycopg.connect(ready.database_url) as connection:
        connection.execute("DROP SCHEMA relay CASCADE")
    assert check(ready, code=3)["schema.version"]["summary"] == "the schema lacks relay"
    said = call(environment(ready), "setup")
    assert "schema: relay had been dropped, and is made again" in said.output
    check(ready, code=0)


def test_the_same_ids_are_reported_whatever_is_wrong(ready: Isolated) -> None:
    nobody = f"127.0.0.1:{free(1)[0]}"
    passing = check(ready)
    without_postgres = check(ready, code=3, RELAY_DATABASE_URL=f"postgresql://u:planted@{nobody}/d")
    without_rabbitmq = check(ready, code=3, RELAY_AMQP_URL=f"amqp://u:planted@{nobody}")
    assert list(passing) == list(without_postgres) == list(without_rabbitmq)
    assert statuses(without_postgres, "FAIL") == {"postgres.connection", "postgres.replication"}
    assert statuses(without_rabbitmq, "FAIL") == {"broker.connection"}
    rabbitmq = {identity for identity in passing if identity.startswith(("broker.", "queue."))}
    assert all(without_postgres[identity] == passing[identity] for identity in rabbitmq)
    assert set(passing) - rabbitmq - statuses(without_postgres, "FAIL") <= statuses(without_postgres, "UNKNOWN")
    assert "planted" not in f"{without_postgres} {without_rabbitmq}"


def test_a_second_host_that_cannot_be_used_is_named_before_it_is_needed(ready: Isolated) -> None:
    nobody = f"127.0.0.1:{free(1)[0]}"
    findings = check(ready, code=0, RELAY_AMQP_URL=f"{ready.amqp_url},amqp://u:planted@{nobody}")
    found = findings["broker.nodes"]
    assert found["status"] == "WARN"
    assert found["summary"].startswith(f"1 of 2 RabbitMQ nodes cannot be used: RabbitMQ at {nobody}/ is not reachable")
    assert found["remedy"] == "check that it runs and that the AMQP URL names it"
    assert findings["broker.connection"]["status"] == "OK"
    assert "planted" not in str(findings)
    twice = check(ready, code=0, RELAY_AMQP_URL=f"{ready.amqp_url},{ready.amqp_url}")["broker.nodes"]
    assert (twice["status"], twice["facts"]["unusable"]) == ("WARN", 0)
    assert twice["summary"].endswith(" more than once")


def test_it_changes_nothing_and_delivers_nothing(ready: Isolated) -> None:
    tap = Tap(ready.amqp_url, queue=ready.queue("tap"), exchange=ready.name)
    query = "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = %s"
    before = one(ready.database_url, query, ready.name)
    check(ready, "--queue", ready.queue("tap"), code=0)
    assert tap.waiting() == 0
    assert one(ready.database_url, query, ready.name) == before
    count = "SELECT count(*) FROM pg_replication_slots WHERE database = %s"
    assert one(ready.database_url, count, ready.name) == 1


def test_the_table_names_every_check_and_its_remedy(ready: Isolated) -> None:
    said = call(environment(ready, RELAY_SLOT=f"{ready.name}_none"), "check")
    assert said.code == 3
    assert "slot.exists" in said.output
    assert "→ run `relay setup`" in said.output
    assert "FAIL, " in said.output.splitlines()[-1]


def test_each_fault_is_a_finding(streaming: Isolated) -> None:
    with psycopg.connect(streaming.database_url, autocommit=True) as connection:
        connection.execute("SELECT pg_drop_replication_slot(%s)", [streaming.name])
        connection.execute("ALTER TABLE outbox.event RENAME COLUMN payload TO body")
        connection.execute("UPDATE outbox_setup.applied SET checksum = 'other' WHERE name = '001_outbox.sql'")
    asyncio.run(_on_channel(streaming, lambda link, channel: link.call(channel.exchange_delete, streaming.name)))
    findings = check(streaming, code=3)
    assert statuses(findings, "FAIL") == {
        "schema.version",
        "outbox.table",
        "slot.exists",
        "checkpoint.position",
        "broker.exchange",
        "broker.publish",
    }
    assert "'payload'" in findings["outbox.table"]["summary"]
    assert "no slot has" in findings["checkpoint.position"]["summary"]


def test_a_position_that_a_relay_stores_during_the_check_is_not_ahead_of_the_wal(
    streaming: Isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = asking_postgres._Asking._schema  # noqa: SLF001 - asked in the middle

    def meanwhile(asking: Any) -> Any:  # noqa: ANN401 - private types
        with psycopg.connect(streaming.database_url, autocommit=True) as connection:
            connection.execute("SELECT pg_logical_emit_message(true, 'other', 'more WAL')")
            connection.execute("UPDATE relay.checkpoint SET lsn = pg_current_wal_flush_lsn()")
        return schema(asking)

    monkeypatch.setattr(asking_postgres._Asking, "_schema", meanwhile)  # noqa: SLF001 - see above
    assert check(streaming)["checkpoint.position"]["status"] == "OK"


def test_a_transaction_that_blocks_the_creation_of_a_slot_is_named(
    isolated: Isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.operating.check.asking.postgres._PROBE_TIMEOUT", "500ms")
    with psycopg.connect(isolated.database_url) as connection:
        connection.execute("SELECT pg_current_xact_id()")
        findings = check(isolated)
        blocked = findings["postgres.long_transactions"]
        assert blocked["status"] == "FAIL"
        assert connection.info.backend_pid in blocked["facts"]["pids"]
        assert f"pid {connection.info.backend_pid} (" in blocked["summary"]
    assert findings["postgres.plugin_works"]["status"] == "OK"


def test_a_slot_that_is_gone_is_no_gap_where_the_table_is_polled(streaming: Isolated) -> None:
    with psycopg.connect(streaming.database_url, autocommit=True) as connection:
        connection.execute("SELECT pg_drop_replication_slot(%s)", [streaming.name])
    findings = check(streaming, code=0)
    position = findings["checkpoint.position"]
    assert findings["slot.exists"]["status"] == "WARN"
    assert (position["status"], "the relay polls the table" in position["summary"]) == ("WARN", True)
    assert check(streaming, code=3, RELAY_SOURCE="wal")["checkpoint.position"]["status"] == "FAIL"


def test_a_held_slot_is_reported_and_is_not_a_fault(ready: Isolated) -> None:
    with held(ready):
        findings = check(ready, code=0)
    assert "held by other" in findings["slot.holder"]["summary"]


def test_a_slot_of_pgoutput_needs_its_publication(isolated: Isolated) -> None:
    assert list(setup(settings(isolated, plugin="pgoutput"), accept_gap=False))
    findings = check(isolated, code=0)
    assert findings["postgres.plugin_works"]["facts"]["plugin"] == "pgoutput"
    assert findings["outbox.publication"]["facts"]["publication"] == isolated.name
    with psycopg.connect(isolated.database_url) as connection:
        connection.execute(SQL("DROP PUBLICATION {}").format(Identifier(isolated.name)))
    assert statuses(check(isolated, code=3), "FAIL") == {"outbox.publication"}
    assert "slot.purpose" in statuses(check(isolated, code=3, RELAY_PLUGIN="wal2json", RELAY_SOURCE="wal"), "FAIL")
    assert "slot.purpose" in statuses(check(isolated, RELAY_PLUGIN="wal2json"), "WARN"), "the relay polls then"


def test_a_pooler_is_recognised_by_its_pid(ready: Isolated) -> None:
    """PgBouncer sends the client another pid in BackendKeyData."""
    with _pooler(ready) as url:
        findings = check(ready, RELAY_DATABASE_URL=url)
    assert findings["postgres.pooler"]["status"] == "WARN"
    assert findings["postgres.pooler"]["facts"]["client_pid"] != findings["postgres.pooler"]["facts"]["server_pid"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"x-queue-type": "classic"}, ("WARN", "WARN", "OK")),
        ({"x-queue-type": "quorum", "x-delivery-limit": 5}, ("OK", "WARN", "WARN")),
        ({"x-queue-type": "stream"}, ("OK", "OK", "OK")),
        ({"x-message-ttl": 1000, "x-dead-letter-exchange": "dlx"}, ("WARN", "OK", "OK")),
    ],
)
def test_the_arguments_of_a_queue_are_found_without_changing_it(
    ready: Isolated, arguments: dict[str, Any], expected: tuple[str, ...]
) -> None:
    name = ready.queue("judged")
    declare = _declare(name, arguments)
    asyncio.run(_on_channel(ready, declare))
    findings = check(ready, "--queue", name, code=0)
    found = [findings[f"queue.{each}:{name}"] for each in ("type", "dead_letters", "delivery_limit")]
    assert tuple(finding["status"] for finding in found) == expected
    assert found[0]["facts"]["type"] == arguments.get("x-queue-type", "classic")
    asyncio.run(_on_channel(ready, declare))  # it is still declared like this


def test_the_queue_that_consumers_declare_passes(ready: Isolated) -> None:
    name = ready.queue("tasks")
    asyncio.run(
        _on_channel(
            ready,
            lambda connection, channel: declare_queue(connection, channel, name, exchange=ready.name, binding_key="a"),
        )
    )
    findings = check(ready, "--queue", name, "--queue", f"{name}.none", code=3)
    assert {findings[f"queue.{each}:{name}"]["status"] for each in ("type", "dead_letters", "delivery_limit")} == {"OK"}
    assert statuses(findings, "FAIL") == {f"queue.type:{name}.none"}


def test_an_exchange_of_another_type_is_reported(isolated: Isolated) -> None:
    async def declare(connection: Connection, channel: Channel) -> None:
        await connection.call(channel.exchange_declare, isolated.name, exchange_type="fanout", durable=True)

    asyncio.run(_on_channel(isolated, declare))
    exchange = check(isolated)["broker.exchange"]
    assert exchange["status"] == "WARN"
    assert "its type is fanout" in exchange["summary"]


def test_a_wrong_setting_is_a_usage_error_and_not_a_finding(isolated: Isolated) -> None:
    said = call(environment(isolated, RELAY_ROUTING_KEY="{nothing}"), "check")
    assert said.code == 2


def _declare(name: str, arguments: dict[str, Any]) -> Callable[[Connection, Channel], Any]:
    return lambda connection, channel: connection.call(channel.queue_declare, name, durable=True, arguments=arguments)


async def _on_channel(isolated: Isolated, act: Callable[[Connection, Channel], Any]) -> None:
    connection = await Connection.open(isolated.amqp_url, name="test")
    await act(connection, await connection.channel())
    await connection.close()


class _Pooler(socketserver.ThreadingTCPServer):
    """Forwards to a server and sends clients other pids, as PgBouncer does."""

    allow_reuse_address = True

    def __init__(self, url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        place = urlsplit(url)
        self.server = (str(place.hostname), int(place.port or 0))
        credentials = place.netloc.rpartition("@")[0]
        self.url = place._replace(netloc=f"{credentials}@127.0.0.1:{self.server_address[1]}").geturl()


class _Session(socketserver.BaseRequestHandler):
    # https://www.postgresql.org/docs/current/protocol-message-formats.html: 'K', the length 12, pid, secret key
    _KEY = b"K\x00\x00\x00\x0c"

    def handle(self) -> None:
        assert isinstance(self.server, _Pooler)
        with socket.create_connection(self.server.server) as server:
            upward = Thread(target=self._upward, args=(server,))
            upward.start()
            while received := server.recv(65536):
                before, key, after = received.partition(self._KEY)
                self.request.sendall(before + key + (b"\x63\x79\x51\x73" + after[4:] if key else b""))
            self.request.shutdown(socket.SHUT_RDWR)
            upward.join()

    def _upward(self, server: socket.socket) -> None:
        with suppress(OSError):
            while received := self.request.recv(65536):
                server.sendall(received)
            server.shutdown(socket.SHUT_WR)


@contextmanager
def _pooler(isolated: Isolated) -> Iterator[str]:
    with _Pooler(isolated.database_url) as pooler:
        thread = Thread(target=pooler.serve_forever)
        thread.start()
        try:
            yield pooler.url
        finally:
            pooler.shutdown()
            thread.join()
