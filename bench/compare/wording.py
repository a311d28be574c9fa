"""A workload in words, for people who read a report. Pure."""

from bench.compare.workload import Load, Workload, mean


def told(workload: Workload) -> dict[str, str]:
    """Return each load in words, by its name."""
    return {load.name: _told(load) for load in workload.load}


def settings(load: Load) -> dict[str, str]:
    """Return what a reader of the report needs to know of a load."""
    return {
        "rate": f"{load.rate:g} events/s",
        "arrivals": load.arrivals,
        "rows of a transaction": _shares(load.rows),
        "bytes of a payload": _shares(load.payload_bytes),
    }


def _told(load: Load) -> str:
    parts = [
        f"{load.rate:g} events/s",
        load.arrivals,
        f"rows: {_shares(load.rows)}",
        f"payload: {_shares(load.payload_bytes)} bytes",
        f"{load.open_share:.0%} of transactions stay open, {load.open_seconds:g} s on average",
        f"{load.rollbacks:.0%} are rolled back",
        f"{load.hot_share:.0%} write to {load.hot} of {load.aggregates} aggregates",
    ]
    if load.arrivals == "bursty":
        parts.append(f"{load.burst:g} transactions in a burst")
    if load.idle_every:
        parts.append(f"{load.idle_seconds:g} s of nothing after each {load.idle_every:g} s")
    return "; ".join(parts)


def _shares(weights: dict[int, float]) -> str:
    if len(weights) == 1:
        return f"{next(iter(weights)):,}"
    total = sum(weights.values())
    shares = ", ".join(f"{value:,} ({weight / total:.3g})" for value, weight in weights.items())
    return f"{shares}; mean {mean(weights):.4g}"
