"""Every fault of the campaign, in the order in which it runs them."""

from tests.faults import broker, history, links, partitions, postgres, processes, sizes, topology
from tests.faults.cluster import nodes
from tests.faults.pair import promotions, returns
from tests.faults.run import Fault
from tests.faults.sources import refusals, slots, switches

_FAMILIES = (
    *(processes, postgres, promotions, returns, broker, nodes, links, topology),
    *(slots, refusals, switches, partitions, history, sizes),
)
FAULTS: tuple[Fault, ...] = tuple(fault for family in _FAMILIES for fault in family.FAULTS)
