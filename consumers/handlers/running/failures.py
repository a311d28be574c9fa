"""What a failed run leads to: a log line, and the decision of its type's policy."""

import random
import traceback

import structlog

from consumers.durations import text
from consumers.handlers.declaring.registry import Registry
from consumers.handlers.declaring.retries import Again, Policy
from consumers.handlers.declaring.task import Task
from consumers.handlers.outcomes import Failed, describe

log = structlog.get_logger()


class Failures:
    """Decides by the policies of `registry`'s handlers; `policy` has what they leave to the settings."""

    def __init__(self, registry: Registry, policy: Policy) -> None:
        self._registry = registry
        self._policy = policy
        self._policies = {
            type_: handler.retry.over(policy)
            for type_ in registry.types
            if (handler := registry.find(type_)) is not None
        }

    def over(self, task: Task) -> Failed | None:
        """Return how a task fails whose last attempt by its type's policy broke off; None if it may run."""
        allowed = self._policies.get(task.type, self._policy).attempts
        if allowed is None or task.attempt <= allowed:
            return None
        error = RuntimeError(f"its attempt {task.attempt - 1} of {allowed} broke off")
        return self._failed(task, error)

    def raised(self, task: Task, error: BaseException) -> Failed:
        """Return how a run ended that raised `error`."""
        return self._failed(task, error, traceback="".join(traceback.format_exception(error)))

    def timeout(self, task: Task) -> float:
        """Return for how many seconds the task's handler may run; 0 if for any time."""
        handler = self._registry.find(task.type)
        return 0.0 if handler is None or handler.timeout is None else handler.timeout

    def timed_out(self, task: Task) -> Failed:
        """Return how a run ended whose deadline has passed."""
        allowed = text(self.timeout(task)) if self.timeout(task) else "allowed"
        return self._failed(task, TimeoutError(f"its handler ran for longer than {allowed}"))

    def without_handler(self, task: Task) -> Failed:
        """Return how a task fails that has no handler here; it is tried again, since another consumer may have one."""
        error = LookupError(f"no handler is registered for tasks of type {task.type!r}")
        return self._failed(task, error, remedy="add one to CONSUMERS_HANDLERS")

    def _failed(self, task: Task, error: BaseException, **more: str) -> Failed:
        decision = self._policies.get(task.type, self._policy).decide(
            error,
            attempt=task.attempt,
            max_attempts=task.max_attempts,
            random=random.random(),  # noqa: S311 - jitter
        )
        again = decision.after if isinstance(decision, Again) else None
        reason = describe(error)
        log.error(
            "task failed",
            task=task.claim.task_id,
            type=task.type,
            attempt=task.attempt,
            again="never" if again is None else f"after {text(again)}",
            error=reason,
            **more,
        )
        return Failed(reason, again)
