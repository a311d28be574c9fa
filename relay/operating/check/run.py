"""Runs every check of `relay check`."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace

from outboxkit.checks.finding import Finding, Unknown, judged, named, ok, reached, unneeded
from relay.operating.check.asking import postgres, rabbitmq
from relay.operating.check.judging import meanwhile
from relay.operating.check.judging.not_needed import NOT_NEEDED
from relay.operating.check.judging.postgres import connection, limits, plugin, role, server, transactions
from relay.operating.check.judging.rabbitmq import broker, queues
from relay.operating.check.judging.relay import members, outbox, polling, position, slot, window
from relay.operating.topology import asking, judging
from relay.operating.topology.topology import Topology
from relay.settings import RelaySettings

WAL_CHECKS = (*server.WAL_CHECKS, *plugin.CHECKS, *limits.CHECKS, *transactions.CHECKS)
"""What only a stream of the WAL needs of a server."""
SERVER_CHECKS = (*server.CHECKS, *WAL_CHECKS)


def check(settings: RelaySettings, *, queue_names: Sequence[str], topology: Topology | None = None) -> list[Finding]:
    """Return a finding for each check, always with the same ids in the same order; a queue's ids end in its name."""
    sections = postgres.ask(settings)
    answers = asyncio.run(rabbitmq.ask(settings, queue_names))
    found = list(_postgres(sections, polls=settings.source == "polling"))
    return [
        *meanwhile.eased(found, sections.position, sections.role, sections.connection),
        *_rabbitmq(answers, queue_names),
        *_topology(settings, topology),
    ]


def _postgres(sections: postgres.Sections, *, polls: bool) -> Iterator[Finding]:
    yield reached("postgres.connection", sections.connection, "Postgres answers")
    if polls:
        yield named("postgres.replication", ok(NOT_NEEDED.format("polling")))
    else:
        yield reached("postgres.replication", sections.replication, "Postgres answers on a replication connection")
    yield from judged(connection.CHECKS, sections.connection)
    yield from judged(server.CHECKS, sections.server)
    yield from unneeded(WAL_CHECKS, NOT_NEEDED.format("polling")) if polls else judged(WAL_CHECKS, sections.server)
    yield from judged(role.CHECKS, sections.role)
    yield from judged(outbox.SCHEMA_CHECKS, sections.schema)
    yield from judged(outbox.OUTBOX_CHECKS, sections.outbox)
    yield from judged(polling.CHECKS, sections.polling)
    yield from judged(slot.CHECKS, sections.slot)
    yield from judged(window.CHECKS, sections.window)
    yield from judged(position.CHECKS, sections.position)
    yield from judged(members.CHECKS, sections.members)


def _rabbitmq(answers: tuple[broker.Broker, list[queues.Queue]] | Unknown, names: Sequence[str]) -> Iterator[Finding]:
    yield reached("broker.connection", answers, "RabbitMQ answers")
    yield from judged(broker.CHECKS, answers if isinstance(answers, Unknown) else answers[0])
    if not names:
        yield from judged(queues.NONE_NAMED, answers)
    for index, name in enumerate(names):
        for finding in judged(queues.CHECKS, answers if isinstance(answers, Unknown) else answers[1][index]):
            yield replace(finding, id=f"{finding.id}:{name}")


def _topology(settings: RelaySettings, topology: Topology | None) -> Iterator[Finding]:
    if topology is None:
        yield from unneeded(judging.CHECKS, judging.NOT_ASKED)
    else:
        yield from judged(judging.CHECKS, asyncio.run(asking.ask(settings, topology)))
