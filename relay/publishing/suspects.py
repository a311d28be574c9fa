"""Which message RabbitMQ closes the channel or the connection for. Pure.

The broker does not name it. After the first refusal, the messages in doubt are suspects and are sent one by one. The
others are confirmed, once; the culprit is the one that is outstanding at the next refusal.
"""

from outboxkit.amqp.errors import ChannelRefused, FramesRefused, FramesUnreadable, PreconditionFailed
from outboxkit.errors import Problem
from relay.core.observations import BrokerLost, Held
from relay.core.ports import Rejection
from relay.publishing.outstanding import Item


class Suspects:
    """Counts the messages that are to be sent one by one."""

    def __init__(self) -> None:
        self.left = 0
        """How many are still to be sent alone."""

    def add(self, count: int) -> None:
        """Send at least the next `count` messages one by one."""
        self.left = max(self.left, count)

    def answered(self, count: int) -> None:
        """Note that the broker has answered for `count` messages."""
        self.left = max(0, self.left - count)

    def clear(self) -> None:
        """Forget all suspects: none of them will be sent."""
        self.left = 0

    def found(self, problem: Problem, outstanding: int) -> bool:
        """Return whether `problem` is a refusal of the one outstanding message; if not, all outstanding are suspects.

        Any other loss of the connection is nobody's fault.
        """
        if not isinstance(problem, ChannelRefused | FramesRefused):
            return False
        if self.left and outstanding == 1:
            return True
        self.add(outstanding)
        return False


def is_final(problem: Problem) -> bool:
    """Return whether RabbitMQ will never take the message: it is too large, or not readable.

    After any other refusal, the message is tried again: somebody may create what it lacks.
    """
    return isinstance(problem, PreconditionFailed | FramesUnreadable)


def rejected(culprit: Item, problem: Problem) -> tuple[Rejection, BrokerLost]:
    """Return the rejection of a message that RabbitMQ will never take, and what to report."""
    what = f"{problem.what}, for event {culprit.parcel.message.id}"
    lost = BrokerLost(type(problem)(what, remedy="it is parked: see `relay parked list`"))
    return Rejection(culprit.parcel, "refused", problem.what), lost


def held(culprit: Item, problem: Problem) -> Held:
    """Return what to report of a message that is tried again."""
    meanwhile = "it is tried again, and later messages wait for it"
    return Held(culprit.named(), type(problem)(problem.what, remedy=f"{problem.remedy}; {meanwhile}"))
