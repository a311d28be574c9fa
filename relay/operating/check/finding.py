"""What a check says, and how checks run over a section of facts. Pure.

FAIL: `relay run` would not work, or would lose what it promises. WARN: it works, and something about it is dangerous.
UNKNOWN: this could not be told, and why. Ids are stable: alerts and scripts may rely on them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

Section = TypeVar("Section")


class Status(StrEnum):
    """How a check came out."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judgement on facts; the remedy is one line, empty where nothing is to be done."""

    status: Status
    summary: str
    remedy: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict under the id of its check."""

    id: str
    status: Status
    summary: str
    remedy: str
    facts: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Untold:
    """Stands for a section of facts that could not be gathered."""

    why: str
    remedy: str


class Check(NamedTuple, Generic[Section]):
    """One check: its id, and the function that judges a section."""

    id: str
    judge: Callable[[Section], Verdict]


def ok(summary: str, **facts: object) -> Verdict:
    """Say that all is well."""
    return Verdict(Status.OK, summary, "", facts)


def warn(summary: str, *, remedy: str, **facts: object) -> Verdict:
    """Say that the relay works, and what is dangerous about it."""
    return Verdict(Status.WARN, summary, remedy, facts)


def fail(summary: str, *, remedy: str, **facts: object) -> Verdict:
    """Say what keeps the relay from working, or from what it promises."""
    return Verdict(Status.FAIL, summary, remedy, facts)


def unknown(summary: str, *, remedy: str, **facts: object) -> Verdict:
    """Say what cannot be told, and why."""
    return Verdict(Status.UNKNOWN, summary, remedy, facts)


def judged(checks: Sequence[Check[Section]], section: Section | Untold) -> Iterator[Finding]:
    """Run `checks` over `section`; without it, each of them is UNKNOWN."""
    for check in checks:
        if isinstance(section, Untold):
            yield named(check.id, unknown(f"not told: {section.why}", remedy=section.remedy))
        else:
            yield named(check.id, check.judge(section))


def reached(identity: str, section: object | Untold, summary: str) -> Finding:
    """Judge whether `section` could be gathered at all: FAIL with its reason if not."""
    if isinstance(section, Untold):
        return named(identity, fail(section.why, remedy=section.remedy))
    return named(identity, ok(summary))


def named(identity: str, verdict: Verdict) -> Finding:
    """Put `verdict` under an id."""
    return Finding(identity, verdict.status, verdict.summary, verdict.remedy, verdict.facts)
