"""A writer, two workers, a canceller, a reaper and a retrier act in any order on one database, beside a model of it.

The model is what docs/states.md says. Each rule sends a statement of the project; its answer and all rows are compared.
"""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from outboxkit import sql
from sandbox import Isolated

MOST = 2
OUTCOMES = st.sampled_from(["completed", "failed", "failed", "failed for good", "given back", "not begun", "put off"])


@dataclass
class Model:
    """What a task is like."""

    status: str
    version: int = 1
    attempts: int = 0
    announced: list[int] = field(default_factory=list)
    due: bool = True
    expired: bool = False

    def goes(self, *statuses: str) -> None:
        """Go on by one version for each of `statuses`."""
        for status in statuses:
            self.status = status
            self.version += 1
        self.expired = False
        if self.status == "pending":
            self.announced.append(self.version)


@dataclass(frozen=True)
class Claim:
    """A claim that was made, by whom, at which version of the task; it may be lost by now."""

    task: UUID
    version: int


class Machine(RuleBasedStateMachine):
    """The rules; `connection` is set by the test."""

    connection: psycopg.Connection[Any]

    tasks: Bundle[UUID] = Bundle("tasks")
    claims: Bundle[Claim] = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[UUID, Model] = {}

    def ask(self, query: str, **parameters: object) -> list[tuple[Any, ...]]:
        return self.connection.execute(query, parameters).fetchall()

    @rule(target=tasks, later=st.booleans())
    def submit(self, later: bool) -> UUID:  # noqa: FBT001 - drawn
        run_at = "now() + interval '1 h'" if later else "NULL"
        [(task,)] = self.ask(f"SELECT tasks.submit('t', max_attempts => {MOST}, run_at => {run_at})")
        self.model[task] = Model("scheduled", due=False) if later else Model("pending", announced=[1])
        return UUID(str(task))

    @rule(
        target=claims,
        task=tasks,
        worker=st.sampled_from(["one", "two"]),
        which=st.sampled_from([-1, -1, -1, -1, -2, 0]),
    )
    def deliver(self, task: UUID, worker: str, which: int) -> Any:  # noqa: ANN401 - a claim, or none
        """Deliver one of the messages that were ever sent about the task."""
        model = self.model[task]
        if not model.announced:
            return multiple()
        version = model.announced[max(which, -len(model.announced))]
        [(_, status, now, attempts, _, claimed_by, *_, locked)] = self.ask(
            sql.query("task_claim"), ids=[task], versions=[version], asked=None, worker=worker, lease=3600
        )
        assert not locked
        if (model.status, model.version) != ("pending", version):
            assert (status, now) == (model.status, model.version), "it is left as it is"
            return multiple()
        model.goes("running")
        model.attempts += 1
        assert (status, now, attempts, claimed_by) == ("running", model.version, model.attempts, worker)
        return Claim(task, model.version)

    @rule(claim=consumes(claims), outcome=OUTCOMES, times=st.integers(1, 2))
    def end(self, claim: Claim, outcome: str, times: int) -> None:
        """Write the outcome of a claim; again, if the connection broke before the answer."""
        model = self.model[claim.task]
        ours = model.version == claim.version and model.status == "running"
        if model.version == claim.version + 1 and model.status == "cancelling":
            model.goes("cancelled")
        elif ours:
            self._ends(model, outcome)
        status = {"failed for good": "failed", "given back": "pending", "not begun": "pending", "put off": "pending"}
        for _ in range(times):
            [(found, version, locked)] = self.ask(
                sql.query("task_end"),
                ids=[claim.task],
                versions=[claim.version],
                statuses=[status.get(outcome, outcome)],
                results=None,
                errors=["planted"] if outcome.startswith(("failed", "given back")) else None,
                delays=[0.0] if outcome in {"failed", "put off"} else None,
                counted=[outcome not in {"not begun", "put off"}],
            )
            assert (found, version, locked) == (model.status, model.version, False)

    def _ends(self, model: Model, outcome: str) -> None:
        last = model.attempts >= MOST
        match outcome:
            case "completed":
                model.goes("completed")
            case "failed" if not last:
                model.goes("failed", "scheduled")
                model.due = True
            case "failed" | "failed for good":
                model.goes("failed", "dead")
            case "given back" if last:
                model.goes("failed", "dead")
            case "given back":
                model.goes("pending")
            case "not begun":
                model.attempts -= 1
                model.goes("pending")
            case "put off":
                model.attempts -= 1
                model.status, model.version = "pending", model.version + 1
                model.goes("scheduled")
                model.due = True

    @rule(claim=consumes(claims))
    def complete_in_transaction(self, claim: Claim) -> None:
        model = self.model[claim.task]
        rows = self.ask(sql.query("task_complete"), id=claim.task, version=claim.version, result="7")
        if (model.status, model.version) == ("running", claim.version):
            model.goes("completed")
            assert rows == [(model.version,)]
        else:
            assert rows == []

    @rule(task=tasks)
    def cancel(self, task: UUID) -> None:
        model = self.model[task]
        if model.status in {"pending", "scheduled"}:
            model.goes("cancelled")
        elif model.status == "running":
            was = model.expired
            model.goes("cancelling")
            model.expired = was
        assert self.ask("SELECT tasks.cancel(%(id)s)", id=task) == [(model.status,)]

    @rule(task=tasks, later=st.booleans())
    def reschedule(self, task: UUID, later: bool) -> None:  # noqa: FBT001 - drawn
        model = self.model[task]
        if model.status not in {"pending", "scheduled"}:
            return
        model.goes("scheduled")
        model.due = not later
        run_at = "now() + interval '1 h'" if later else "now()"
        assert self.ask(f"SELECT tasks.reschedule(%(id)s, {run_at})", id=task) == [("scheduled",)]

    @rule(claim=claims)
    def let_the_lease_run_out(self, claim: Claim) -> None:
        model = self.model[claim.task]
        if model.version == claim.version + (model.status == "cancelling") and model.status in {
            "running",
            "cancelling",
        }:
            model.expired = True
            self.connection.execute(
                "UPDATE tasks.task SET lease_until = clock_timestamp() - interval '1 s' WHERE id = %s", [claim.task]
            )

    @rule()
    def reap(self) -> None:
        expected = {}
        for task, model in self.model.items():
            if model.expired:
                if model.status == "cancelling":
                    model.goes("cancelled")
                elif model.attempts < MOST:
                    model.goes("pending")
                else:
                    model.goes("failed", "dead")
                expected[task] = model.status
        found = self.ask("SELECT id, status FROM tasks.end_expired_claims(1000)")
        assert {task: status for task, status in found} == expected  # noqa: C416 - of pairs

    @rule()
    def make_due_tasks_pending(self) -> None:
        due = [model for model in self.model.values() if model.status == "scheduled" and model.due]
        for model in due:
            model.goes("pending")
        assert self.ask(sql.query("task_due"), limit=1000) == [(len(due),)]

    @invariant()
    def every_row_is_as_the_model_says(self) -> None:
        rows = self.ask("SELECT id, status, version, attempts FROM tasks.task")
        assert {row[0]: row[1:] for row in rows} == {
            task: (model.status, model.version, model.attempts) for task, model in self.model.items()
        }
        announced = self.ask(
            "SELECT aggregate_id::uuid, array_agg(aggregate_version ORDER BY seq) FROM outbox.event GROUP BY 1"
        )
        assert dict(announced) == {task: model.announced for task, model in self.model.items() if model.announced}
        history = self.ask("SELECT task_id, max(version), count(*) FROM tasks.history GROUP BY 1")
        assert {row[0]: row[1:] for row in history} == {
            task: (model.version, model.version) for task, model in self.model.items()
        }

    def teardown(self) -> None:
        with self.connection.transaction():
            self.connection.execute("SET LOCAL session_replication_role = replica")
            for table in ("tasks.task", "tasks.history", "outbox.event"):
                self.connection.execute(f"DELETE FROM {table}")  # noqa: S608 - ours


def test_whatever_the_order_the_database_does_what_the_model_says(isolated: Isolated) -> None:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        Machine.connection = connection
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
            ),
        )
