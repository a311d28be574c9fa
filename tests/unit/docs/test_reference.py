"""docs/reference.md against the code, in both directions: nothing is missing there, and nothing is there any more."""

import ast
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import NamedTuple

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from pydantic.fields import FieldInfo

from consumers.settings import ConsumerSettings
from consumers.watching.event_metrics import EventMetrics
from consumers.watching.metrics import Metrics as ConsumerMetrics
from outboxkit.amqp import format as message
from outboxkit.errors import Problem
from outboxkit.settings import Settings
from relay.core.observations import HandedOver, NotStored, ShadowCompares, ShadowPauses, SlotWatched
from relay.settings import RelaySettings
from relay.watching.metrics import About
from relay.watching.metrics import Metrics as RelayMetrics
from sandbox.settings import SandboxSettings
from tests.unit.docs.markdown import ROOT, quoted, rows, section
from writers.service.metrics import Metrics as ServiceMetrics
from writers.service.postgres.database import Database
from writers.settings import WritersSettings, host_name

REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")


def _table(heading: str) -> list[list[str]]:
    return list(rows(section(REFERENCE, heading)))


def _only(cell: str) -> str:
    (name,) = quoted(cell)
    return name


def _default(field: FieldInfo) -> str:
    if field.is_required() or field.default_factory is host_name:
        return "required" if field.is_required() else "the host's name"
    match field.get_default(call_default_factory=True):
        case None:
            return "none"
        case bool() as value:
            return f"`{str(value).lower()}`"
        case timedelta() as value:
            return f"`{value.days}d`"
        case float() as value:
            return f"`{value:g}`"
        case value:
            return f"`{value}`"


def _settings(kind: type[Settings]) -> dict[str, str]:
    prefix = kind.model_config["env_prefix"]
    return {
        str(field.validation_alias or f"{prefix}{name}".upper()): _default(field)
        for name, field in kind.model_fields.items()
    }


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ("### Relay", RelaySettings),
        ("### Consumers", ConsumerSettings),
        ("### Writers", WritersSettings),
        ("### Sandbox", SandboxSettings),
    ],
)
def test_every_setting_is_listed_once_with_its_default(heading: str, kind: type[Settings]) -> None:
    listed = [(_only(name), default) for name, default, _ in _table(heading)]
    assert dict(listed) == _settings(kind)
    assert len(listed) == len(kind.model_fields)


def _relay_metrics() -> CollectorRegistry:
    metrics = RelayMetrics()
    metrics.identify(About("relay", "slot", "database", "1"))
    metrics(SlotWatched(0, 0, "reserved", None, 0))
    metrics(NotStored("fence", Problem("", remedy="")))
    metrics(ShadowCompares("polling", 1))
    metrics(ShadowPauses("polling", "behind"))
    metrics(HandedOver("wal", "polling", "slot missing", "", None, None))
    return metrics.registry


class Threads(NamedTuple):
    active: int
    idle: int


def _consumer_metrics() -> CollectorRegistry:
    metrics = ConsumerMetrics({"greet"})
    metrics.count("completed", "greet")
    metrics.count("failed", "greet")
    metrics.claimed("greet", 0.1)
    metrics.ran("greet", "completed", 0.1)
    metrics.watch(lambda: 1, Threads(1, 1))
    metrics.job("report", "ran")
    metrics.second_lock("held")
    metrics.reannounced.labels("lost").inc()
    events = EventMetrics(metrics.registry)
    events.count("applied", "orders")
    events.took("orders", 0.1)
    return metrics.registry


def _service_metrics() -> CollectorRegistry:
    metrics = ServiceMetrics(Database(lambda: "", name="", size=1, wait=1))
    metrics.requests.labels("GET", "/tasks", 200).inc()
    metrics.seconds.labels("GET", "/tasks").observe(0.1)
    return metrics.registry


def _metric(family: Metric) -> tuple[str, str, tuple[str, ...]]:
    assert family.samples, f"{family.name} needs a value before its labels are known: give it one in this test"
    name = f"{family.name}_total" if family.type == "counter" else family.name
    labels = {label for sample in family.samples for label in sample.labels} - {"le"}
    return name, family.type, tuple(sorted(labels))


@pytest.mark.parametrize(
    ("heading", "registry"),
    [
        ("### Of the relay", _relay_metrics),
        ("### Of the consumers", _consumer_metrics),
        ("### Of the service over HTTP", _service_metrics),
    ],
)
def test_every_metric_is_listed_once_with_its_type_and_labels(
    heading: str, registry: Callable[[], CollectorRegistry]
) -> None:
    listed = [(_only(name), kind, tuple(sorted(quoted(labels)))) for name, kind, labels, _ in _table(heading)]
    assert sorted(listed) == sorted(_metric(family) for family in registry().collect())


def _codes(kind: type[Problem]) -> Iterator[int]:
    yield kind.exit_code
    for below in kind.__subclasses__():
        yield from _codes(below)


def test_every_exit_code_is_listed_once() -> None:
    done, answered_badly, interrupted, ended = 0, 3, 128 + signal.SIGINT, 128 + signal.SIGTERM
    listed = [int(code) for code, _ in _table("## Exit codes")]
    assert listed == sorted({done, *_codes(Problem), answered_badly, interrupted, ended})


def test_every_header_of_ours_is_listed_once() -> None:
    listed = [_only(cells[0]) for cells in _table("## Message") if len(cells) == len(("header", "type", "value"))]
    assert sorted(listed) == sorted(message.OURS)


def _listed_log_events(package: str) -> set[str]:
    return {name for process, events, _ in _table("## Log events") if process == package for name in quoted(events)}


def _sources(package: str) -> list[str]:
    """Return the files of `package`, and of outboxkit, which is in both processes."""
    return [
        path.read_text(encoding="utf-8") for place in (package, "outboxkit") for path in (ROOT / place).rglob("*.py")
    ]


@pytest.mark.parametrize("package", ["relay", "consumers", "writers"])
def test_every_log_event_that_is_listed_is_logged(package: str) -> None:
    listed = _listed_log_events(package)
    sources = "".join(_sources(package))
    assert listed
    assert not [name for name in listed if f'"{name}"' not in sources]


# Which argument of what is called is the event: structlog's methods, under the names that they have here too.
_METHODS = dict.fromkeys(("info", "warning", "error", "exception", "critical", "tell", "report"), 0)
_LOGBOOK = {"_count": 0, "_Kind": 0, "_once": 1}


def _logged(source: str, events: dict[str, int]) -> Iterator[str]:
    """Yield the events that `source` has as text where it logs; `a if ... else b` is two."""
    for call in ast.walk(ast.parse(source)):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute | ast.Name):
            position = events.get(call.func.attr if isinstance(call.func, ast.Attribute) else call.func.id)
            if position is not None and len(call.args) > position:
                event = call.args[position]
                for text in (event.body, event.orelse) if isinstance(event, ast.IfExp) else (event,):
                    if isinstance(text, ast.Constant) and isinstance(text.value, str):
                        yield text.value


@pytest.mark.parametrize(
    ("package", "events"), [("relay", _METHODS | _LOGBOOK), ("consumers", _METHODS), ("writers", _METHODS)]
)
def test_every_log_event_that_is_logged_is_listed(package: str, events: dict[str, int]) -> None:
    logged = {event for source in _sources(package) for event in _logged(source, events)}
    assert logged
    assert logged - _listed_log_events(package) == set()
