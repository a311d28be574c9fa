"""`relay check`: asks both servers, then judges every precondition; what could not be asked is reported as such."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace

from relay.operating.check.asking import postgres as asking_postgres
from relay.operating.check.asking import rabbitmq as asking_rabbitmq
from relay.operating.check.finding import Finding, Untold, judged, reached
from relay.operating.check.judging import broker, links, outbox, queues, role, server, slot
from relay.settings import RelaySettings


def check(settings: RelaySettings, *, queue_names: Sequence[str]) -> list[Finding]:
    """Return a finding for each check, always the same ids in the same order; those of a queue end in its name."""
    postgres = asking_postgres.ask(settings)
    rabbitmq = asyncio.run(asking_rabbitmq.ask(settings, queue_names))
    return [*_postgres(postgres), *_rabbitmq(rabbitmq, queue_names)]


def _postgres(told: asking_postgres.Sections) -> Iterator[Finding]:
    yield reached("postgres.connection", told.link, "Postgres answers")
    yield reached("postgres.replication", told.replication, "Postgres answers on a replication connection")
    yield from judged(links.CHECKS, told.link)
    yield from judged(server.CHECKS, told.server)
    yield from judged(role.CHECKS, told.role)
    yield from judged(outbox.SCHEMA_CHECKS, told.schema)
    yield from judged(outbox.OUTBOX_CHECKS, told.outbox)
    yield from judged(slot.CHECKS, told.place)
    yield from judged(outbox.POSITION_CHECKS, told.position)


def _rabbitmq(told: tuple[broker.Broker, list[queues.Queue]] | Untold, names: Sequence[str]) -> Iterator[Finding]:
    yield reached("broker.connection", told, "RabbitMQ answers")
    yield from judged(broker.CHECKS, told if isinstance(told, Untold) else told[0])
    if not names:
        yield from judged(queues.NONE_NAMED, told)
    for place, name in enumerate(names):
        for finding in judged(queues.CHECKS, told if isinstance(told, Untold) else told[1][place]):
            yield replace(finding, id=f"{finding.id}:{name}")
