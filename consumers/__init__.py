"""The consumers: delivery → claim → handler → outcome → ack.

    from consumers import Task, task

    @task("greet")
    def greet(task: Task) -> None: ...

A module of handlers needs only these two names; `CONSUMERS_HANDLERS` names the module. The package does not import the
relay: they share the message format, in `outboxkit.amqp.format`.
"""

from consumers.handlers.registry import task
from consumers.handlers.task import Task

__all__ = ["Task", "task"]
