"""What `consumers check` says of facts, and what commands say of errors of Postgres: each remedy can be followed."""

from dataclasses import replace

import psycopg
import pytest

from consumers.operating.checks import broker, queues, second_lock, sessions, work
from consumers.operating.checks.broker import Broker
from consumers.operating.checks.module import Handlers, Kinds
from consumers.operating.checks.queues import Queue
from consumers.operating.checks.server import Server
from consumers.operating.connection import problem
from consumers.settings import ConsumerSettings
from outboxkit.amqp.answers.answer import ACCEPTED, NOT_FOUND, Answer, differing
from outboxkit.amqp.answers.preconditions import remedy
from outboxkit.amqp.asking import QueueAnswer
from outboxkit.amqp.topology import arguments
from outboxkit.checks.finding import Status, Unknown, Verdict
from outboxkit.checks.nodes import Nodes

SETTINGS = ConsumerSettings(database_url="postgresql://u:p@h/d", amqp_url="amqp://u:p@localhost:5672/%2F")
THREADS = Kinds(threads=True, loop=False, event_threads=False, event_loop=False)
EVENTS = Kinds(threads=False, loop=False, event_threads=True, event_loop=False)
ALL = Kinds(threads=True, loop=True, event_threads=True, event_loop=True)
ONE = Nodes(["localhost:5672/"])
SERVER = Server(
    version_number=160000, version="16", standby=False, read_only=False, pid=1, login_pid=1, clock=0.0, ahead=0.0,
    unsure=0.0, role="c", role_limit=-1, sessions=1, role_sessions=1, settings={"max_connections": "100"}, most=21,
    lease=30.0,
)  # fmt: skip


def settings(**changed: object) -> ConsumerSettings:
    return SETTINGS.model_copy(update=changed)


@pytest.mark.parametrize(
    ("kinds", "changed", "most"),
    [
        (THREADS, {}, 5 + 16),
        (replace(THREADS, loop=True), {}, 5 + 32),
        (THREADS, {"lock": "advisory"}, 5 + 16 + 16),
        (THREADS, {"lock": "redis"}, 5 + 16),
        (EVENTS, {"events_queue": "e"}, 5 + 1 + 8),
        (ALL, {"events_queue": "e", "lock": "advisory"}, 5 + 32 + 32 + 17),
        (ALL, {"events_queue": "e", "lock": "advisory", "concurrency": 1}, 5 + 4 + 4 + 3),
    ],
)
def test_sessions_are_counted_by_the_kinds_of_handlers(kinds: Kinds, changed: dict[str, object], most: int) -> None:
    assert sessions.most(settings(**changed), kinds) == most


def test_a_module_that_is_not_known_may_have_every_kind_that_the_settings_allow() -> None:
    assert Kinds.expected(settings(events_queue="e")) == ALL
    assert not Kinds.expected(SETTINGS).events


@pytest.mark.parametrize(
    ("changed", "status", "said"),
    [
        ({}, Status.OK, "up to 21 sessions"),
        ({"role_limit": 20}, Status.FAIL, "role c may have 20"),
        ({"role_limit": 21}, Status.OK, ""),
        ({"role_limit": 42, "role_sessions": 23}, Status.WARN, "role c may have 42, and 20 are free now"),
        ({"role_limit": 42, "role_sessions": 22}, Status.OK, ""),
        ({"settings": {"max_connections": "20"}}, Status.FAIL, "the server may have 20"),
        ({"sessions": 95}, Status.WARN, "and 6 are free now"),
        ({"role_limit": 42, "role_sessions": 30, "settings": {"max_connections": "20"}}, Status.FAIL, "the server"),
        ({"login_pid": 2, "role_limit": 1}, Status.UNKNOWN, "the pooler"),
    ],
)
def test_the_sessions_that_the_role_has_already_are_not_free(
    changed: dict[str, object], status: Status, said: str
) -> None:
    found = sessions.sessions(replace(SERVER, **changed))  # type: ignore[arg-type]
    assert found.status is status
    assert said in found.summary
    if status is Status.FAIL and "role c" in said:
        assert found.remedy.startswith('ALTER ROLE "c" CONNECTION LIMIT 42 or more: 21 for each')


def handlers(types: list[str], events: list[str]) -> Handlers:
    return Handlers(types, events, Kinds(bool(types), loop=False, event_threads=bool(events), event_loop=False))


def test_a_module_of_event_handlers_alone_needs_a_queue_for_events_and_none_for_tasks() -> None:
    found = handlers([], ["count"])
    said = work.handlers(found)
    assert (said.status, said.summary) == (Status.OK, "no handlers for tasks, so none are taken")
    assert work.events(found, settings(events_queue="e")).status is Status.OK
    unset = work.events(found, SETTINGS)
    assert unset.status is Status.FAIL
    assert "handlers of events are registered: count" in unset.summary
    assert work.events(handlers(["t"], []), settings(events_queue="e")).status is Status.WARN
    assert work.events(handlers(["t"], []), SETTINGS).status is Status.OK
    assert work.unhandled(work.Waiting({"t": 1}), found).status is Status.OK
    needless = Broker(ONE, "x", Answer(ACCEPTED), None, None, 0)
    judged = (broker.tasks_queue, broker.dead_letters, broker.binding, broker.events_queue, broker.events_dead_letters)
    assert {judge(needless).status for judge in judged} == {Status.OK}
    assert broker.permissions(needless).remedy == "see events.handlers"
    assert second_lock.checked(settings(lock="redis"), EVENTS).status is Status.OK


def test_jobs_of_events_alone_run_seldom() -> None:
    events, tasks = handlers([], ["count"]), handlers(["t"], [])
    assert work.scheduler(601.0, SETTINGS, events).status is Status.OK
    assert work.scheduler(3001.0, SETTINGS, events).status is Status.WARN
    assert work.scheduler(None, settings(inbox_retention=None), events).status is Status.OK
    assert work.scheduler(61.0, SETTINGS, tasks).status is Status.WARN
    assert work.scheduler(61.0, SETTINGS, Unknown("", "")).status is Status.WARN


def test_a_task_without_a_handler_is_not_said_to_end_at_once() -> None:
    found = work.unhandled(work.Waiting({"t": 2}), handlers(["other"], []))
    assert "dead after its last attempt" in found.summary
    assert "as a member of outbox_operator" in found.remedy


def wrong(name: str, replace_by: str) -> Verdict:
    found = QueueAnswer(Answer(ACCEPTED), {"x-queue-type": "classic"})
    return queues.judge(Queue(name, arguments(), found, "", replace_by))


def test_each_queue_that_is_declared_otherwise_has_a_remedy_of_its_own() -> None:
    of_tasks = wrong("tasks", queues.OF_TASKS)
    assert of_tasks.status is Status.FAIL
    assert of_tasks.remedy == remedy("inequivalent arg 'x-queue-type' for queue 'tasks' in vhost '/'")
    dead = wrong("tasks.dead", queues.DEAD_OF_TASKS).remedy
    assert "`consumers dlq redrive`" in dead
    assert "CONSUMERS_QUEUE" not in dead
    for each in (queues.OF_EVENTS, queues.DEAD_OF_EVENTS):
        assert "announce again" not in each, "events are not"


def test_the_single_active_consumer_is_compared() -> None:
    text = "inequivalent arg 'x-single-active-consumer' for queue 'q' in vhost '/': received none but current is "
    assert differing(f"{text}the value 'true' of type 'bool'") == ("x-single-active-consumer", True)
    expected = arguments("q", single_active=False)
    answer = QueueAnswer(Answer(ACCEPTED), arguments("q", single_active=True))
    found = queues.judge(Queue("q", expected, answer, "", queues.OF_EVENTS))
    assert found.status is Status.FAIL
    assert "x-single-active-consumer is True, not left out (CONSUMERS_EVENTS_SINGLE_ACTIVE" in found.summary


def test_a_queue_that_others_bind_is_needed_and_not_made() -> None:
    absent = QueueAnswer(Answer(NOT_FOUND), None)
    ours = Queue("q", arguments("q"), absent, "no events come to it", queues.OF_EVENTS)
    assert queues.judge(ours).status is Status.WARN
    found = queues.judge(replace(ours, bound_by_others=True))
    assert found.status is Status.FAIL
    assert "run `relay setup --topology`" in found.remedy


def test_a_handler_longer_than_the_consumer_timeout_is_not_forbidden() -> None:
    said = broker.consumer_timeout(Broker(ONE, "x", Answer(ACCEPTED), None, None, 0)).remedy
    assert "must be longer" not in said
    assert "a longer handler runs once" in said


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (psycopg.errors.InsufficientPrivilege, "use a member of outbox_operator"),
        (psycopg.errors.UndefinedTable, "run `consumers setup` of this version on it, or `relay setup` if it is"),
        (psycopg.OperationalError, "CONSUMERS_DATABASE_URL"),
    ],
)
@pytest.mark.parametrize("purpose", ["locks", "events", "dead", "states", "status"])
def test_every_command_says_the_same_of_an_error(error: type[psycopg.Error], says: str, purpose: str) -> None:
    assert says in problem(error("x"), purpose).remedy
