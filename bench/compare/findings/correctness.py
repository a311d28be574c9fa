"""Which arm missed, doubled or reordered events. Pure."""

from dataclasses import dataclass

from bench.compare.findings.finding import Finding
from bench.compare.findings.measures import Measured
from bench.compare.findings.phrasing import capital, listed, plural
from bench.compare.results import Correctness

_MANY = 4


@dataclass(frozen=True, slots=True)
class Counted:
    """One arm's events in all phases and repetitions together."""

    arm: str
    ordered: bool
    counts: Correctness

    @property
    def faulty(self) -> bool:
        """Whether it broke a promise: a duplicate breaks none."""
        return self.counts.missed > 0 or (self.ordered and self.counts.reordered > 0)


def counted(measured: Measured) -> list[Counted]:
    """Return the counts of each arm of which events were counted."""
    found = []
    for name, arm in measured.arms.items():
        counts = [
            part.correctness
            for run in measured.results.runs
            for part in run.phases
            if run.arm == name and part.correctness is not None
        ]
        if counts and arm.family != "none":
            found.append(Counted(name, arm.ordered, _sum(counts)))
    return found


def missing(measured: Measured) -> frozenset[str]:
    """Return the arms that missed events."""
    return frozenset(each.arm for each in counted(measured) if each.counts.missed)


def findings(measured: Measured) -> list[Finding]:
    """Return a sentence for each fault, and one for those without."""
    found = counted(measured)
    bad = [each for each in found if each.faulty]
    sentences = [Finding(_fault(each), fault=True) for each in bad]
    good = [each for each in found if not each.faulty]
    if good:
        events = min(each.counts.committed for each in good)
        who = listed([each.arm for each in good]) if len(good) < _MANY else f"{len(good)} {'other ' * bool(bad)}arms"
        kept = "" if all(each.ordered for each in found) else "; the order is kept where it is promised"
        sentences.append(Finding(f"{who}: none missed of {plural(events, 'event')} or more for each{kept}."))
    loose = [each for each in found if not each.ordered and each.counts.reordered]
    sentences += [
        Finding(f"{each.arm} promises no order for each aggregate, and reordered {_of(each.counts.reordered, each)}.")
        for each in loose
    ]
    sentences += [
        Finding(
            f"{each.arm} had not published {_of(each.counts.unfinished, each)} when the time was over, and still "
            "published."
        )
        for each in found
        if each.counts.unfinished
    ]
    doubled = [each for each in found if each.counts.duplicated]
    if doubled:
        most = max(doubled, key=lambda each: each.counts.duplicated)
        sentences.append(
            Finding(
                f"{plural(len(doubled), 'arm')} published some events twice, which consumers skip by the message's id; "
                f"most of all {most.arm}, {_of(most.counts.duplicated, most)}."
            )
        )
    return sentences


def title(measured: Measured) -> str:
    """Return the finding as a title."""
    found = counted(measured)
    bad = [_fault(each).rstrip(".") for each in found if each.faulty]
    if len(bad) < _MANY:
        return capital(listed(bad)) if bad else f"No event was missed by {plural(len(found), 'arm')}"
    return f"{len(bad)} arms missed events or broke their order; {plural(len(found) - len(bad), 'arm')} did not"


def verdict(each: Counted) -> str:
    """Return in few words whether an arm did what it promises."""
    if each.faulty:
        return "loses events" if each.counts.missed else "breaks the order"
    if each.counts.unfinished:
        return f"{each.counts.unfinished:,} not finished"
    return "no fault seen" if each.ordered else "promises no order"


def _fault(each: Counted) -> str:
    counts = each.counts
    parts = [f"missed {_of(counts.missed, each)}"] if counts.missed else []
    if each.ordered and counts.reordered:
        parts.append(f"reordered {_of(counts.reordered, each)}")
    return f"{each.arm} {' and '.join(parts)}."


def _of(count: int, each: Counted) -> str:
    return f"{count:,} of {plural(each.counts.committed, 'event')}"


def _sum(counts: list[Correctness]) -> Correctness:
    return Correctness(
        committed=sum(each.committed for each in counts),
        missed=sum(each.missed for each in counts),
        duplicated=sum(each.duplicated for each in counts),
        reordered=sum(each.reordered for each in counts),
        unfinished=sum(each.unfinished for each in counts),
    )
