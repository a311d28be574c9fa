"""Which node of a cluster is tried first. Pure."""

from collections.abc import Iterator, Sequence

from outboxkit.amqp.url import Node


class Turn:
    """Whose turn it is: each attempt to connect begins with the node after the one that was tried last.

    A new attempt means that the last node failed, or that its connection was lost.
    """

    def __init__(self) -> None:
        self._last = ""

    def order(self, nodes: Sequence[Node]) -> Iterator[Node]:
        """Yield each of `nodes` once, from the one whose turn it is; the last one that is taken was tried last."""
        names = [str(node) for node in nodes]
        first = names.index(self._last) + 1 if self._last in names else 0
        for node in (*nodes[first:], *nodes[:first]):
            self._last = str(node)
            yield node
