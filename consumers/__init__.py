"""The workers: delivery → claim → handler → outcome → ack.

    from consumers import Task, task

    @task("greet")
    def greet(task: Task) -> None: ...

A module of handlers needs these two names and no more; `CONSUMERS_HANDLERS` names the module. The package knows
nothing of the relay: it meets it in RabbitMQ, in the words of `messaging`.
"""

from consumers.handlers.registry import task
from consumers.handlers.task import Task

__all__ = ["Task", "task"]
