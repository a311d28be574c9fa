"""What the checks judge: servers, roles, slots, tables and brokers that pass, and functions that change them."""

from dataclasses import replace
from typing import Any

from outboxkit.amqp.answers import answer
from outboxkit.amqp.answers.answer import Answer
from outboxkit.checks.nodes import Nodes
from relay.operating.check.judging.postgres.role import Privilege, Role
from relay.operating.check.judging.postgres.server import Probe, Server
from relay.operating.check.judging.rabbitmq.broker import Broker
from relay.operating.check.judging.relay.outbox import Outbox
from relay.operating.check.judging.relay.slot import RelaySlot
from relay.sources.fields import FIELDS
from relay.sources.layout import NATIVE
from relay.storage.facts import ColumnFacts, PublicationFacts, TableFacts
from tests.support.examples import OWNER, SLOT

SETTINGS = {
    "wal_level": "logical",
    "max_replication_slots": "10",
    "max_wal_senders": "10",
    "max_slot_wal_keep_size": "1024",
    "wal_sender_timeout": "60000",
}


SERVER = Server(
    version_number=150018,
    version="15.18",
    encoding="UTF8",
    in_recovery=False,
    slots=1,
    senders=1,
    settings=SETTINGS,
    slot_exists=True,
    slot_held=False,
    wanted="auto",
    probes=[Probe("wal2json", None)],
    transactions=[],
)


def with_settings(**settings: str | None) -> Server:
    return replace(SERVER, settings={k: v for k, v in {**SETTINGS, **settings}.items() if v is not None})


def probed(*probes: Probe, **changes: Any) -> Server:  # noqa: ANN401 - any field
    return replace(SERVER, probes=probes, **changes)


HELD = Privilege("table", "relay.checkpoint", "UPDATE", "store the position", held=True)


ROLE = Role(
    name="outbox_relay",
    superuser=False,
    replication=True,
    create_role=False,
    create_database=False,
    bypass_rls=False,
    connection_limit=20,
    member_of=[],
    excess=[],
    privileges=[HELD, replace(HELD, kind="schema", object="relay", privilege="USAGE")],
    streams=True,
)


RELAY_SLOT = RelaySlot("s", "auto", "shop", SLOT, limit_bytes=1 << 30, owner=OWNER)


def with_slot(limit: int | None = 1 << 30, **changes: Any) -> RelaySlot:  # noqa: ANN401 - any field
    return replace(RELAY_SLOT, slot=replace(SLOT, **changes), limit_bytes=limit)


TABLE = TableFacts("p", [ColumnFacts(name, 25, 25, "text") for name in FIELDS], leaves=[("outbox", "event_1")])


OUTBOX = Outbox(NATIVE, TABLE, "wal2json", "s")


PUBLICATION = PublicationFacts(["insert"], through_root=True, has_table=True)


PUBLISHED = replace(OUTBOX, plugin="pgoutput", facts=replace(TABLE, publication=PUBLICATION))


ACCEPTED = Answer(answer.ACCEPTED)


REFUSED = Answer(answer.ACCESS_REFUSED, "ACCESS_REFUSED")


ABSENT = Answer(answer.NOT_FOUND, "NOT_FOUND")


SILENT = Answer(answer.NO_ANSWER)


ALTERNATE = Answer(
    answer.PRECONDITION_FAILED,
    "PRECONDITION_FAILED - inequivalent arg 'alternate-exchange' for exchange 'outbox' in vhost '/': "
    "received none but current is the value 'rest' of type 'longstr'",
)


BROKER = Broker(
    product="RabbitMQ",
    version="3.10.8",
    nodes=Nodes(["localhost:5672/"]),
    capabilities=["publisher_confirms", "basic.nack", "connection.blocked"],
    encrypted=False,
    remote=None,
    blocked=False,
    exchange_name="outbox",
    exchange=ACCEPTED,
    declared=ACCEPTED,
    published=ACCEPTED,
    returned=ACCEPTED,
    max_message_bytes=1 << 20,
)
