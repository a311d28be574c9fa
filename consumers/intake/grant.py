"""How many deliveries the present subscription may have, and when another one is needed. Pure.

A delivery that waits for a locked row stays unacknowledged and needs no handler. If it counted as one that does, as
many of them as there are handlers would stop the consumer. RabbitMQ counts for each subscription what it has delivered
(https://www.rabbitmq.com/docs/consumer-prefetch), so with another one they do not count any more.
"""


class Grant:
    """What was asked for last: `prefetch` at first."""

    def __init__(self, prefetch: int) -> None:
        self._prefetch = self._granted = prefetch

    def renew(self, prefetch: int, *, cap: int, waiting: int, counted: int) -> int | None:
        """Return how many deliveries another subscription is to have; None if the present one is as good.

        `waiting` deliveries wait for locked rows; `counted` of them are of the present subscription. With the others
        there are `cap` at most. A change has to be worth its cost: another pace, or a quarter of the room.
        """
        wanted = min(prefetch, cap - waiting)
        if wanted < 1 or (prefetch == self._prefetch and 4 * (self._granted - counted) >= 3 * wanted):
            return None
        self._prefetch, self._granted = prefetch, wanted
        return wanted
