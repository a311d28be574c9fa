"""What the processes of the profile have counted, by their metrics; and the result of the demo."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from sandbox.demo.partitioned.order import Order

_SECONDS = 10.0

Address = str
"""`host:port`."""


@dataclass(frozen=True)
class Result:
    """What was counted from outside."""

    events: int
    """Committed."""
    published: Order
    """What a queue that is bound to everything got."""
    by_relay: Mapping[str, int]
    """How many events each relay published."""
    by_queue: Mapping[str, int]
    """How many events the consumer of each queue applied."""
    gaps: int
    """Events that came to a consumer before an earlier one of their order."""
    in_view: int
    """Orders whose last version was applied, of `orders`."""
    orders: int
    seconds: float

    @property
    def out_of_order(self) -> int:
        """How many events were published, or came to a consumer, before an earlier one of their order."""
        return self.published.out_of_order + self.gaps

    @property
    def clean(self) -> bool:
        """Whether nothing is missing, the order of each aggregate held, and all relays and queues had a part."""
        return (
            self.published.first == self.events == sum(self.by_queue.values())
            and self.in_view == self.orders
            and self.out_of_order == 0
            and all((*self.by_relay.values(), *self.by_queue.values()))
        )


def counted(addresses: Sequence[Address], metric: str, outcome: str) -> dict[str, int]:
    """Return by host how many events had `outcome`, by the counter `metric` of the process at each address."""
    return {address.partition(":")[0]: _count(_metrics(address), metric, outcome) for address in addresses}


def grown(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """Return by how much each count has grown."""
    return {name: after[name] - before[name] for name in after}


def _count(text: str, metric: str, outcome: str) -> int:
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    found = (each.value for each in samples if each.name == metric and each.labels.get("outcome") == outcome)
    return int(sum(found))


def _metrics(address: Address) -> str:
    with urlopen(f"http://{address}/metrics", timeout=_SECONDS) as answer:
        return str(answer.read().decode())
