"""The registry of scheduled jobs, by name. It runs none of them.

    from consumers import task_lock

    @task_lock("send-reports", every="1h")
    def send_reports() -> None: ...

The time between two runs is given once, here: the timer and the lock both follow it. Whichever number of consumers has
the job, each run is made by one of them.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

from consumers.durations import Duration
from consumers.errors import JobUnusable
from consumers.maintenance.declaring import planning
from consumers.maintenance.declaring.declaration import Function, Job

LEADER = "scheduler"
"""The lock of the leader, with CONSUMERS_SCHEDULER=leader."""
OWN = "consumers."
"""What the names of the project's own jobs begin with."""
_LONGEST_NAME = 200

F = TypeVar("F", bound=Function)


class Jobs:
    """Jobs by name; those of the project itself are its `own`, so that no name is used twice."""

    def __init__(self, *, own: bool = False) -> None:
        self._own = own
        self._jobs: dict[str, Job] = {}

    def task_lock(  # noqa: PLR0913 - all but the name are options
        self,
        name: str,
        *,
        every: Duration | None = None,
        cron: str | None = None,
        time_zone: str | None = None,
        at_most: float | None = None,
        at_least: float | None = None,
        initial_delay: Duration = 0,
    ) -> Callable[[F], F]:
        """Run the decorated function every so often, in one consumer at a time; it takes nothing or a `JobContext`.

        `every` is a number of seconds, a duration ("90 s", "1h30m"), or the name of a setting or of an environment
        variable that has one of these. `cron` is an expression of five fields instead, read in `time_zone`, which is
        CONSUMERS_TIME_ZONE by default. A run holds the lock for at most `at_most` times, and at least `at_least` times,
        the time between two runs. The first run is tried `initial_delay` after the consumer has started.

        The function is returned as it is: to call it takes no lock. Raises JobUnusable.
        """

        def register(function: F) -> F:
            self._add(Job(name, function, every, cron, time_zone, at_most, at_least, initial_delay))
            return function

        return register

    def __iter__(self) -> Iterator[Job]:
        """Yield the jobs in the order in which they were declared."""
        return iter(self._jobs.values())

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._jobs)

    def _add(self, job: Job) -> None:
        name = job.name
        if not 0 < len(name) <= _LONGEST_NAME:
            raise JobUnusable(f"{name!r} is no name of a job", remedy=f"write 1 to {_LONGEST_NAME} characters")
        if not self._own and (name == LEADER or name.startswith(OWN)):
            raise JobUnusable(
                f"job {name!r} has a name that the consumers use themselves", remedy="give it another one"
            )
        if name in self._jobs:
            raise JobUnusable(f"two jobs are called {name!r}", remedy="give each its own name: it is the lock's name")
        planning.check(job)
        self._jobs[name] = job


jobs = Jobs()
task_lock = jobs.task_lock
