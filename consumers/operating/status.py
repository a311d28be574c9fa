"""The status of the consumers: tasks by status, from Postgres, and waiting messages, from RabbitMQ. Read only."""

from dataclasses import asdict, dataclass

from consumers.database import Database
from consumers.settings import ConsumerSettings
from outboxkit import sql
from outboxkit.amqp.connection import Connection
from outboxkit.amqp.errors import ChannelRefused
from outboxkit.amqp.topology import dead_letter_queue


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """One queue: messages ready for delivery, and consumers; None when the queue does not exist or is forbidden."""

    name: str
    ready: int | None
    consumers: int | None


@dataclass(frozen=True, slots=True)
class Status:
    """Tasks by status, and the two queues."""

    tasks: dict[str, int]
    queue: QueueDepth
    dead_letter_queue: QueueDepth

    @property
    def bad(self) -> str | None:
        """Why no task is taken; None if consumers read the queue."""
        if self.queue.ready is None:
            return f"queue {self.queue.name!r} does not exist, or its reading is forbidden"
        return None if self.queue.consumers else f"no consumer reads queue {self.queue.name!r}"

    def as_json(self) -> dict[str, object]:
        """Return the status as `consumers status --json` prints it."""
        return asdict(self)


async def status(settings: ConsumerSettings) -> Status:
    """Ask both servers; raises a Problem when one of them cannot be reached."""
    async with Database(settings.database_url.get_secret_value, name="consumers status") as database:
        tasks = dict(await database.fetch(sql.query("task_counts")))
    connection = await Connection.open(
        settings.amqp_url.get_secret_value(), name="consumers status", tls=settings.tls()
    )
    try:
        depths = [await _depth(connection, name) for name in (settings.queue, dead_letter_queue(settings.queue))]
    finally:
        await connection.close()
    return Status(tasks, *depths)


async def _depth(connection: Connection, name: str) -> QueueDepth:
    channel = await connection.channel()
    try:
        answer = await connection.call(channel.queue_declare, name, passive=True)
    except ChannelRefused:
        return QueueDepth(name, None, None)
    return QueueDepth(name, answer.message_count, answer.consumer_count)
