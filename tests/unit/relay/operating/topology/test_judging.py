"""What `relay check --topology` says of RabbitMQ's answers: each remedy is of its cause."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from outboxkit.amqp.answers.answer import NO_ANSWER, PRECONDITION_FAILED, Answer
from outboxkit.amqp.asking import QueueAnswer
from outboxkit.checks.finding import Check, Verdict
from relay.core.hashing.spread import Spread
from relay.operating.topology import judging
from relay.operating.topology.judging import Found
from relay.operating.topology.topology import Topology
from tests.unit.relay.operating.check.judging.check_facts import ABSENT, ACCEPTED, REFUSED

HASH = Topology.read("hash:2", source="outbox")
STREAM = Topology.read("stream:2", source="outbox")


def as_declared(topology: Topology) -> Found:
    queues = {name: QueueAnswer(ACCEPTED, arguments) for name, arguments in topology.declared}
    return Found(topology, topology.spread, ACCEPTED, ACCEPTED, queues)


GOOD = as_declared(HASH)
MISSING = replace(GOOD, queues={**GOOD.queues, "outbox.hash-2-1": QueueAnswer(ABSENT, None, "NOT_FOUND")})
NONE = replace(GOOD, queues={name: QueueAnswer(ABSENT, None, "NOT_FOUND") for name in GOOD.queues})
LARGE = as_declared(Topology.read("hash:8", source="outbox"))
HALF = {name for number in range(4) for name in (f"outbox.hash-8-{number}", f"outbox.hash-8-{number}.dead")}
HALF_MISSING = replace(
    LARGE, queues={**LARGE.queues, **{name: QueueAnswer(ABSENT, None, "NOT_FOUND") for name in HALF}}
)
OTHER = {"x-queue-type": "quorum"}
WRONG = replace(GOOD, queues={**GOOD.queues, "outbox.hash-2-1": QueueAnswer(ACCEPTED, OTHER)})
WRONG_AND_MISSING = replace(WRONG, queues={**WRONG.queues, "outbox.hash-2-0": QueueAnswer(ABSENT, None, "NOT_FOUND")})
HIDDEN = replace(GOOD, queues={name: QueueAnswer(ACCEPTED, None, "ACCESS_REFUSED") for name in GOOD.queues})
NO_DEAD = replace(GOOD, queues={**GOOD.queues, "outbox.hash-2-1.dead": QueueAnswer(ABSENT, None, "NOT_FOUND")})
OTHER_TYPE = Answer(
    PRECONDITION_FAILED,
    "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'outbox.hash-2' in vhost '/': received "
    "'headers' but current is 'topic'",
)


@pytest.mark.parametrize("found", [GOOD, as_declared(STREAM)], ids=["hash", "stream"])
@pytest.mark.parametrize("check", judging.CHECKS, ids=lambda check: check.id)
def test_a_topology_as_setup_declares_it_passes_and_its_bindings_are_unknown(check: Check[Found], found: Found) -> None:
    verdict = check.judge(found)
    assert verdict.status == ("UNKNOWN" if check.id == "broker.topology_binding" else "OK")
    assert bool(verdict.remedy) == (verdict.status != "OK")


@pytest.mark.parametrize(
    ("judge", "found", "status", "summary", "remedy"),
    [
        (judging.exchange, replace(GOOD, exchange=ABSENT, declared=ABSENT), "FAIL", "does not exist",
         "if hash:2 is the topology that is wanted, run `relay setup --topology hash:2`"),
        (judging.exchange, replace(GOOD, declared=OTHER_TYPE), "FAIL", "its type is topic", "begin the topology anew"),
        (judging.exchange, replace(GOOD, declared=REFUSED), "UNKNOWN", "may not declare it", "as the user of"),
        (judging.exchange, replace(GOOD, declared=Answer(NO_ANSWER)), "UNKNOWN", "not in time", "broker.alarm"),
        (judging.queues, MISSING, "FAIL", "missing: 'outbox.hash-2-1'", "`relay parked list` shows what came back"),
        (judging.queues, NO_DEAD, "FAIL", "missing: 'outbox.hash-2-1.dead'", "what it had is gone"),
        (judging.queues, replace(MISSING, exchange=ABSENT), "FAIL", "missing: 'outbox.hash-2-1'",
         "run `relay setup --topology hash:2`"),
        (judging.queues, NONE, "FAIL", "none of the 2 queues of hash:2 exists", "run `relay setup --topology hash:2`"),
        (judging.queues, replace(NONE, exchange=ABSENT), "FAIL", "none of the 2 queues", "see broker.topology_exch"),
        (judging.queues, HALF_MISSING, "FAIL", "'outbox.hash-8-1.dead', and 4 more", "`relay parked list`"),
        (judging.queues, WRONG, "FAIL", "x-single-active-consumer of 'outbox.hash-2-1' is not set, not True", "anew"),
        (judging.queues, WRONG_AND_MISSING, "FAIL", "x-single-active-consumer of 'outbox.hash-2-1' is not", "anew"),
        (judging.queues, HIDDEN, "UNKNOWN", "the arguments of 4 queues are unknown", "as the user of `relay setup`"),
        (judging.binding, GOOD, "UNKNOWN", "AMQP does not show", "'outbox.hash-2' to each of its 2 queues"),
        (judging.setting, replace(GOOD, spread=None), "FAIL", "RELAY_TOPOLOGY is not set", "set RELAY_TOPOLOGY=hash:2"),
        (judging.queues, WRONG, "FAIL", "x-dead-letter-exchange of 'outbox.hash-2-1' is not set, not '';", "anew"),
        (judging.setting, replace(GOOD, spread=Spread("hash", 3)), "FAIL", "RELAY_TOPOLOGY is hash:3: no event",
         "and restart it; otherwise begin anew: docs/scaling.md"),
        (judging.setting, replace(GOOD, spread=Spread("stream", 3)), "FAIL", "RELAY_TOPOLOGY is stream:3: no event",
         "and restart it; otherwise take hash:3, which gets the same events, or begin anew"),
        (judging.setting, replace(GOOD, spread=STREAM.spread), "OK", "each event has the header hash2", ""),
    ],
)  # fmt: skip
def test_what_is_wrong_is_found(
    judge: Callable[[Found], Verdict], found: Found, status: str, summary: str, remedy: str
) -> None:
    verdict = judge(found)
    assert verdict.status == status
    assert summary in verdict.summary
    assert remedy in verdict.remedy
