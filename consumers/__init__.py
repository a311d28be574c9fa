"""The consumers: delivery → claim → handler → outcome → ack.

    from consumers import Task, task

    @task("greet")
    def greet(task: Task) -> None: ...

    @on("order.*")
    def count(event: Event, connection: psycopg.Connection) -> None: ...

    @task_lock("send-reports", every="1h")
    def send_reports() -> None: ...

A module of handlers and scheduled jobs needs only these names; `CONSUMERS_HANDLERS` names the module. The package does
not import the relay: they share the message format, in `outboxkit.amqp.format`.
"""

from consumers.events.declaring.event import Event
from consumers.events.declaring.registry import on
from consumers.handlers.declaring.registry import task
from consumers.handlers.declaring.retries import Permanent, Retry, RetryPolicy
from consumers.handlers.declaring.task import Task
from consumers.maintenance.declaring.declaration import JobContext
from consumers.maintenance.declaring.registry import task_lock

__all__ = ["Event", "JobContext", "Permanent", "Retry", "RetryPolicy", "Task", "on", "task", "task_lock"]
