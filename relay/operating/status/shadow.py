"""What shadow mode has found, as one line. Pure."""

from relay.operating.status.local_relay import ShadowSummary

_PAUSES = {
    "handover": "the relay reads the same source, or has just changed",
    "behind": "it fell behind",
    "failed": "the source cannot be read: see the relay's log",
}


def summary(shadow: ShadowSummary) -> str:
    """Return the line of `relay status`."""
    parts = [f"{shadow.compared} events compared, {_differences(shadow)}"]
    parts += [
        f"{side} was first for {lead.events}, by {lead.seconds:.2f} s on average"
        for side, lead in (("the live stream", shadow.live_first), ("the shadow", shadow.shadow_first))
        if lead.events
    ]
    if not shadow.comparing:
        parts.append("pauses now")
    parts += [f"paused {count} times: {_PAUSES.get(reason, reason)}" for reason, count in shadow.pauses.items()]
    return f"{shadow.source}: {'; '.join(parts)}"


def _differences(shadow: ShadowSummary) -> str:
    if shadow.differences:
        found = ", ".join(f"{kind} {count}" for kind, count in sorted(shadow.differences.items()))
        return f"differences: {found}"
    return "no difference" if shadow.compared else "so nothing is known yet"
