"""Prints the demo: a line for each grab when it ends, then the summary, bars, and what was checked; or JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, assert_never

from rich.console import Console
from rich.table import Table
from rich.text import Text

from writers.locking.client import Failed, NoneLeft, Outcome, Taken
from writers.locking.grabbing import Plan, Run
from writers.locking.observing import Observation, by_instance

_BAR = 40
_NAME = 12


class Report:
    """Prints to `console` while the demo runs."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def begin(self, url: str, plan: Plan) -> None:
        """Say what is about to be done."""
        with_or_without = "FOR UPDATE SKIP LOCKED" if plan.skip_locked else "FOR UPDATE, without SKIP LOCKED"
        self._print(Text(f"\n{with_or_without}", style="bold"))
        self._print(
            f"{plan.requests} requests at once to {url} for {plan.tasks} tasks; "
            f"each works for {plan.seconds:g} s while it holds its task's row"
        )

    def ended(self, outcome: Outcome) -> None:
        """Print one request's line."""
        line: str
        match outcome:
            case Taken():
                line = f"  task {outcome.number or '-':>4}  {outcome.id}  {outcome.instance:<{_NAME}}"
            case NoneLeft():
                line = f"  none left{' ' * 40}{outcome.instance:<{_NAME}}"
            case Failed():
                line = f"  failed: {outcome.reason} after"
            case _:
                assert_never(outcome)
        self._print(f"{line} {outcome.seconds:6.2f} s")

    def show(self, run: Run, observations: Sequence[Observation]) -> None:
        """Print the summary of a run."""
        self._print()
        self._console.print(_table({"": run}))
        self._print()
        counts = by_instance(run)
        for name, number in counts.items():
            self._print(f"  {name:<{_NAME}} {'█' * round(number * _BAR / max(*counts.values(), 1))} {number}")
        self._print()
        for each in observations:
            self._print(Text(f"  {'✓' if each.holds else '✗'} {each.text}", style="" if each.holds else "bold red"))

    def compare(self, with_it: Run, without_it: Run) -> None:
        """Print two runs beside each other."""
        self._print()
        self._console.print(_table({"with SKIP LOCKED": with_it, "without": without_it}))

    def _print(self, line: str | Text = "") -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


def numbers(run: Run) -> dict[str, Any]:
    """Return what is counted of a run."""
    seconds = [each.seconds for each in run.taken]
    return {
        "requests": len(run.outcomes),
        "successful": len(run.taken),
        "none_left": len(run.none_left),
        "failed": len(run.failed),
        "total_seconds": round(run.total, 3),
        "average_seconds": round(sum(seconds) / len(seconds), 3) if seconds else None,
        "longest_seconds": round(max(seconds), 3) if seconds else None,
        "rows_locked_at_once": run.locked_at_once,
    }


def as_json(run: Run, observations: Sequence[Observation]) -> dict[str, Any]:
    """Return all of a run for `--json`."""
    return {
        **numbers(run),
        "instances": by_instance(run),
        "grabs": [_outcome(each) for each in run.outcomes],
        "observations": [each._asdict() for each in observations],
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    names = {Taken: "task", NoneLeft: "none left", Failed: "failed"}
    return {"outcome": names[type(outcome)], **asdict(outcome), "seconds": round(outcome.seconds, 3)}


def _table(runs: dict[str, Run]) -> Table:
    table = Table(show_header=len(runs) > 1)
    table.add_column("")
    for name in runs:
        table.add_column(name, justify="right")
    for name in numbers(next(iter(runs.values()))):
        label = name.replace("_seconds", " time").replace("_", " ")
        table.add_row(label, *(_text(name, numbers(run)[name]) for run in runs.values()))
    return table


def _text(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f} s" if name.endswith("_seconds") else str(value)
