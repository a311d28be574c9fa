"""How long RabbitMQ has nacked everything: when another channel is to be tried. Pure: methods take `now`.

A nack can be the channel's fault. Before RabbitMQ 3.13, a channel whose first message for a quorum queue comes between
the loss of its leader and the election of the next one asks the lost node with each message, and nacks all of them
until that node is back (rabbit_fifo_client:enqueue, until commit bd9f2a1).
"""


class Nacks:
    """Judges nacks that no confirm interrupts; all times are in seconds.

    The channel is given up when they have lasted for `limit`. Each further channel that has only nacks doubles that:
    then it is probably the queue that is full.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._factor = 1
        self._since: float | None = None

    def nacked(self, now: float) -> None:
        """Note that the broker has nacked a message."""
        if self._since is None:
            self._since = now

    def accepted(self) -> None:
        """Note that the broker has taken a message: start over."""
        self._since, self._factor = None, 1

    def restart(self) -> None:
        """Forget the last channel's nacks: there is a new one."""
        self._since = None

    def last_too_long(self, now: float) -> bool:
        """Return whether the channel is to be given up; asked once for each, the next one has twice as long."""
        if self._since is None or now - self._since <= self._limit * self._factor:
            return False
        self._since = None
        self._factor *= 2
        return True
