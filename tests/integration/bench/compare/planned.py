"""The plan of a comparison on real servers that takes seconds."""

from bench.compare.planning import plan
from bench.compare.planning.plan import Asked, Plan
from bench.compare.planning.sizes import Sizes
from bench.compare.planning.workload import Load, Workload

TINY = Sizes(
    long_runs=1,
    idle_runs=1,
    backlog=200,
    slow_backlog=50,
    load_seconds=2,
    idle_seconds=1,
    settle_seconds=0,
    step_seconds=2,
    outage_seconds=1,
    outage_rate=20,
    around_seconds=1,
    large_rows=300,
    patience=10,
    at_most=60,
)
MIXED = Load(
    "mixed", rate=150, rows={1: 0.9, 20: 0.1}, payload_bytes={200: 0.9, 50_000: 0.1}, open_share=0.3, rollbacks=0.2,
    hot_share=0.5,
)  # fmt: skip


def planned(load: Load = MIXED, rates: tuple[float, ...] = ()) -> Plan:
    made = plan.made(Asked(quick=True, seed=1, workload=Workload((load,))), drawn=0, started_at="")
    return Plan(**{name: getattr(made, name) for name in made.__struct_fields__} | {"sizes": TINY, "rates": rates})
