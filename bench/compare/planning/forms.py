"""The two forms of a comparison. Pure.

The quick form ends within 10 minutes on two cores, the full one within 90. So what takes long is not measured in every
run; ordering.py says what a run has, and the report how often each part was measured.

Quick: a drain and a load in three repetitions. Two of the arm whose load takes at least 10 s, and of one confirm at a
time, which is far from the others; one of last id, which is not compared, since it misses events. Once: four arms
without events, two in an outage.

Full: a drain and seven loads, in as many repetitions as above. Twice: a while without events, for each arm but the
controls. Once: the search for the highest rate, for each arm; an outage of 60 s for five arms, and a transaction of
1,000,000 rows for four of them. The fifth polls every 10 s: it publishes such a transaction as the one that polls every
100 ms does, once it has seen it.
"""

from bench.compare.planning.sizes import Sizes
from bench.compare.planning.workload import Load, Workload

_MIXED = {1: 0.98, 100: 0.02}
_BYTES = {200: 0.9, 2000: 0.09, 50_000: 0.01}
_WAL2JSON, _PGOUTPUT = "WAL (wal2json)", "WAL (pgoutput)"
_SOON, _SECOND, _LATE, _NOTIFIED = "polling, 100 ms", "polling, 1 s", "polling, 10 s", "polling, notify"
_SHARING, _SHARED = "skip_locked, 1 poller", "skip_locked, 4 pollers"
_FEWER = {_LATE: 2, "control: last id": 1, "control: one confirm at a time": 2}

QUICK_WORKLOAD = Workload((
    Load("mixed", rate=300, rows=_MIXED, payload_bytes=_BYTES, hot_share=0.2, open_share=0.2),
))  # fmt: skip
FULL_WORKLOAD = Workload((
    Load("even", rate=200),
    Load("bursty", rate=200, arrivals="bursty"),
    Load("100 rows in each transaction", rate=1000, rows={100: 1.0}),
    Load("payloads of 2 kB", rate=200, payload_bytes={2000: 1.0}),
    Load("payloads of 50 kB", rate=50, payload_bytes={50_000: 1.0}),
    Load("hot aggregates", rate=200, hot_share=0.8, open_share=0.2),
    Load("mixed, with pauses", rate=300, arrivals="bursty", rows=_MIXED, payload_bytes=_BYTES, hot_share=0.2,
         open_share=0.2, idle_every=2, idle_seconds=2),
))  # fmt: skip
QUICK_RATES: tuple[float, ...] = ()
FULL_RATES = (500.0, 1000.0, 2000.0, 4000.0, 8000.0)
QUICK_REPETITIONS = FULL_REPETITIONS = 3
QUICK_AT_MOST, FULL_AT_MOST = 600.0, 5400.0
QUICK = Sizes(
    long_runs=1,
    idle_runs=1,
    backlog=6000,
    slow_backlog=1000,
    load_seconds=4,
    idle_seconds=3,
    settle_seconds=1,
    step_seconds=4,
    outage_seconds=4,
    outage_rate=100,
    around_seconds=1.5,
    large_rows=0,
    patience=6,
    at_most=60,
    outage_arms=(_WAL2JSON, _SECOND),
    idle_arms=(_WAL2JSON, _SOON, _SECOND, _NOTIFIED),
    fewer=_FEWER,
    reserve_seconds=45,
)
FULL = Sizes(
    long_runs=1,
    idle_runs=2,
    backlog=20_000,
    slow_backlog=3000,
    load_seconds=8,
    idle_seconds=20,
    settle_seconds=11,
    step_seconds=8,
    outage_seconds=60,
    outage_rate=200,
    around_seconds=5,
    large_rows=1_000_000,
    patience=6,
    at_most=300,
    outage_arms=(_WAL2JSON, _PGOUTPUT, _SOON, _LATE, _SHARING),
    large_arms=(_WAL2JSON, _PGOUTPUT, _SOON, _SHARING),
    idle_arms=(_WAL2JSON, _PGOUTPUT, _SOON, _SECOND, _LATE, _NOTIFIED, _SHARING, _SHARED),
    fewer=_FEWER,
    reserve_seconds=240,
)
