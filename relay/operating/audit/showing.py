"""How the findings of an audit are shown: as a table for people, or as one JSON document. Pure."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rich.table import Table

from relay.operating.audit.findings import Findings, Judged
from relay.operating.display import plain
from relay.operating.times import shown
from relay.storage.audit.buckets import EVER

_NUMBERS = ("committed", "confirmed", "parked", "pending", "missing", "extra", "applied", "not applied")


def document(findings: Findings) -> dict[str, Any]:
    """Return everything that was found."""
    return {
        "verdict": findings.verdict,
        "totals": {
            **{name: findings.total(name) for name in ("committed", "confirmed", "parked", "pending", "unrecorded")},
            "missing": findings.lost,
            "extra": len(findings.extra),
            "changed": len(findings.changed),
            "judged": sum(each.judged for each in findings.buckets),
            "not_applied": findings.unapplied,
        },
        "buckets": [_bucket(each) for each in findings.buckets],
        "retired": [{**each._asdict(), "missing": each.missing} for each in findings.retired],
        "missing": [each._asdict() for each in findings.missing],
        "not_applied": [{**event._asdict(), "by": [*by]} for event, by in findings.not_applied],
        "extra": [each._asdict() for each in findings.extra],
        "changed": [each._asdict() for each in findings.changed],
        "notes": findings.notes,
    }


def table(findings: Findings) -> Table:
    """Return a row for each bucket in which something was committed, or is wrong, and one for all."""
    found = Table("after (UTC)", "up to (UTC)", *_NUMBERS)
    for each in findings.buckets:
        if each.outcome.committed or each.extra:
            span = each.bucket.after.at, each.bucket.until.at
            found.add_row(*map(_shown, span), *_cells(each))
    total = document(findings)["totals"]
    names = ("committed", "confirmed", "parked", "pending", "missing", "extra")
    applied = (
        [str(total["judged"] - total["not_applied"]), str(total["not_applied"])] if total["judged"] else ["-", "-"]
    )
    found.add_section()
    found.add_row("all", "", *(str(total[name]) for name in names), *applied)
    return found


def lines(findings: Findings, limit: int | None) -> Iterator[str]:
    """Yield a line for each event that is named, and for each thing that was not judged."""
    for each in findings.missing:
        yield f"missing: {each.id}, number {each.seq}, {_whose(each)}: committed, and neither confirmed nor parked"
    for gone in findings.retired:
        if gone.missing:
            yield f"missing: numbers {gone.missing_seqs} of {gone.partition}, which retention has removed since"
    for event, by in findings.not_applied:
        names = ", ".join(by)
        yield f"not applied: {event.id}, number {event.seq}, {_whose(event)}: confirmed, and not applied by {names}"
    for extra in findings.extra[:limit]:
        name = f"number {extra.seq}" if extra.id is None else f"{extra.id}, number {extra.seq}"
        yield f"extra: {name}: confirmed at {shown(extra.at)} UTC, and not in the outbox; its row was deleted"
    for changed in findings.changed[:limit]:
        under = (
            f"under {changed.confirmed}" if changed.confirmed else "under another id, or another one of its minute was"
        )
        yield f"changed: {changed.id}, number {changed.seq}: confirmed {under}"
    if findings.total("missing") > len(findings.missing) or findings.unapplied > len(findings.not_applied):
        yield "there are more of these; --ids names all"
    for note in findings.notes:
        yield f"note: {note}"


def _shown(at: datetime) -> str:
    return "the record's begin" if at == EVER else shown(at)


def _bucket(each: Judged) -> dict[str, Any]:
    counts = each.outcome._asdict()
    counts.pop("missing_seqs")
    return {
        "after": None if each.bucket.after.at == EVER else each.bucket.after.at,
        "until": each.bucket.until.at,
        **counts,
        "extra": each.extra,
        "judged": each.judged,
        "not_applied": each.not_applied,
    }


def _cells(each: Judged) -> Iterator[Any]:
    found = each.outcome
    numbers = (found.committed, found.confirmed, found.parked, found.pending, found.missing, each.extra)
    yield from (plain(str(number) if number else "") for number in numbers)
    yield plain(str(each.judged - each.not_applied) if each.judged else "")
    yield plain(str(each.not_applied) if each.not_applied else "")


def _whose(event: Any) -> str:  # noqa: ANN401 - any event
    return f"{event.aggregate_type} {event.aggregate_id}, version {event.aggregate_version}, {event.event_type}"
