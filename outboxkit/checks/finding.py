"""The result of a check, and how checks run over a section of facts. Pure.

FAIL: the program would not run, or would break a guarantee. WARN: it works, with a risk. UNKNOWN: this could not be
determined, and why. Ids are stable, because alerts and scripts use them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

Section = TypeVar("Section")


class Status(StrEnum):
    """The outcome of a check."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judgement of facts. The remedy is one line, and empty if nothing is to be done."""

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
class Unknown:
    """Takes the place of a section of facts that could not be gathered."""

    reason: str
    remedy: str


class Check(NamedTuple, Generic[Section]):
    """One check: its id, and the function that judges a section."""

    id: str
    judge: Callable[[Section], Verdict]


def ok(summary: str, **facts: object) -> Verdict:
    """Return a verdict that needs no action."""
    return Verdict(Status.OK, summary, "", facts)


def warn(summary: str, *, remedy: str, **facts: object) -> Verdict:
    """Return a verdict that the program works, with a risk."""
    return Verdict(Status.WARN, summary, remedy, facts)


def fail(summary: str, *, remedy: str, **facts: object) -> Verdict:
    """Return a verdict that the program would not work, or would break a guarantee."""
    return Verdict(Status.FAIL, summary, remedy, facts)


def unknown(summary: str, *, remedy: str, **facts: object) -> Verdict:
    """Return a verdict that this could not be determined."""
    return Verdict(Status.UNKNOWN, summary, remedy, facts)


def judged(checks: Sequence[Check[Section]], section: Section | Unknown) -> Iterator[Finding]:
    """Run `checks` over `section`; each is UNKNOWN if the section is."""
    for check in checks:
        if isinstance(section, Unknown):
            yield named(check.id, unknown(f"unknown: {section.reason}", remedy=section.remedy))
        else:
            yield named(check.id, check.judge(section))


def unneeded(checks: Sequence[Check[Section]], why: str) -> Iterator[Finding]:
    """Report each of `checks` as OK, since what it looks at is not needed; `why` says so."""
    for check in checks:
        yield named(check.id, ok(why))


def reached(identity: str, section: object | Unknown, summary: str) -> Finding:
    """Return OK with `summary` if `section` could be gathered, else FAIL with the reason."""
    if isinstance(section, Unknown):
        return named(identity, fail(section.reason, remedy=section.remedy))
    return named(identity, ok(summary))


def named(identity: str, verdict: Verdict) -> Finding:
    """Return `verdict` under an id."""
    return Finding(identity, verdict.status, verdict.summary, verdict.remedy, verdict.facts)
