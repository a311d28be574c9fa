"""The demo as a whole: a set of instances, one run or two, and what was observed."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from outboxkit.settings import load
from outboxkit.sql.url import DatabaseUrl
from writers.locking import balancer, grabbing, instances, processes
from writers.locking.client import Refused, Service
from writers.locking.grabbing import Plan, Run
from writers.locking.observing import Observation, observe
from writers.locking.processes import Program
from writers.locking.report import Report, as_json
from writers.settings import WritersSettings

_WORKERS = 3


class LockingSettings(WritersSettings):
    """The writers' settings; a running set has its database itself."""

    database_url: DatabaseUrl | None = None  # type: ignore[assignment]  # only here it may be missing


@dataclass(frozen=True)
class Options:
    """What the command line asks for; `workers` is how many instances there are, if it says so."""

    plan: Plan
    url: str | None
    workers: int | None
    compare: bool
    config: Path | None


@dataclass(frozen=True)
class Found:
    """A run, and what was observed of it."""

    run: Run
    observations: Sequence[Observation]

    @property
    def good(self) -> bool:
        """Whether all of it holds."""
        return all(each.holds for each in self.observations)


@dataclass(frozen=True)
class Result:
    """The demo's run and, for comparison, that without SKIP LOCKED."""

    with_it: Found
    without_it: Found | None

    @property
    def good(self) -> bool:
        """Whether all that was checked holds."""
        return self.with_it.good and (self.without_it is None or self.without_it.good)

    def as_json(self) -> dict[str, Any]:
        """Return it for `--json`."""
        without_it = self.without_it
        return {
            "good": self.good,
            "with_skip_locked": as_json(self.with_it.run, self.with_it.observations),
            "without_skip_locked": without_it and as_json(without_it.run, without_it.observations),
        }


def demo(options: Options, report: Report) -> Result:
    """Run the demo against `options.url`, or against a set of its own. Raises Problem if it cannot be run."""
    with processes.ended_in_order(), _set(options) as (service, expected):

        def found(plan: Plan) -> Found:
            report.begin(service.url, plan)
            run = grabbing.run(service, plan, ended=report.ended)
            observations = observe(run, instances=expected)
            report.show(run, observations)
            return Found(run, observations)

        with_it = found(options.plan)
        without_it = found(replace(options.plan, skip_locked=False)) if options.compare else None
        if without_it is not None:
            report.compare(with_it.run, without_it.run)
        return Result(with_it, without_it)


@contextlib.contextmanager
def _set(options: Options) -> Iterator[tuple[Service, int | None]]:
    """Yield the service, and how many instances it should have."""
    settings = load(LockingSettings, options.config)
    token = None if settings.token is None else settings.token.get_secret_value()
    if options.url is not None:
        yield Service(options.url, token=token), options.workers
        return
    load(WritersSettings, options.config)  # says what is missing
    workers = options.workers or _WORKERS
    with (
        _explained() as programs,
        instances.started(workers, options.config) as started,
        balancer.started([each.address for each in started]) as url,
    ):
        programs += [each.program for each in started]
        yield Service(url, token=token), workers


@contextlib.contextmanager
def _explained() -> Iterator[list[Program[str]]]:
    """Raise what an instance has logged, instead of the answer that only says that its log has the reason.

    The instances are those that the block puts into the list, and ends: all that they have logged is known then.
    """
    programs: list[Program[str]] = []
    try:
        yield programs
    except Refused as refused:
        complaints = [complaint for program in programs if (complaint := program.complaint()) is not None]
        if not complaints:
            raise
        raise complaints[0] from refused
