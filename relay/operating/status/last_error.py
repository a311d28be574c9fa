"""What is wrong with a relay now. Pure."""

from datetime import datetime, timedelta

from relay.operating.slot.statements import Slot
from relay.operating.status.document import Parked
from relay.operating.status.local_relay import LocalRelay

# A relay sends a status update every 10 s at least, and gets a fence back every second while it streams.
_REPORTS_WITHIN = timedelta(seconds=30)
_COMES_WITHIN = 10.0


def last_error(  # noqa: PLR0913 - what there is to know
    name: str,
    slot: Slot | None,
    local: LocalRelay | None,
    parked: Parked | None,
    *,
    at: datetime,
    polling: bool = False,
    active: bool = True,
) -> str | None:
    """Return the worst error at `at`; without any, the event that was parked last; else None.

    `local` is the relay on this machine, whether it streams or not.
    """
    found = wrong(name, slot, local, at=at, polling=polling, active=active)
    if found is None and local is not None:
        found = {"wal": _behind(local), "polling": _late(local), "none": _does_not_stream(local)}.get(local.mode)
    if found is None and parked is not None and parked.waiting:
        return f"parked at {parked.latest_at:%Y-%m-%d %H:%M:%S %Z}: {parked.latest}"
    return found


def wrong(  # noqa: PLR0913 - what there is to know
    name: str,
    slot: Slot | None,
    local: LocalRelay | None,
    *,
    at: datetime,
    polling: bool = False,
    active: bool = True,
) -> str | None:
    """Return why no events pass at `at`, whatever their lag; None if they do.

    `polling` is whether the table is polled, and `active` whether this relay is: others may publish other partitions.
    """
    if polling:
        if not active:
            return "this relay is not active" if local is None else _does_not_stream(local)
        return _held(local) if local is not None and local.mode == "polling" else None
    if slot is None:
        return f"replication slot {name!r} does not exist"
    if slot.lost:
        return f"replication slot {name!r} is lost: {slot.why_lost}"
    if slot.holder_pid is None:
        return _no_holder(slot) if local is None else _does_not_stream(local)
    return _held(local) if local is not None and local.mode == "wal" else _no_report(slot, at)


def _no_holder(slot: Slot) -> str:
    since = f" since {slot.inactive_since:%Y-%m-%d %H:%M:%S %Z}" if slot.inactive_since else ""
    return f"no relay streams from replication slot {slot.name!r}{since}"


def _held(local: LocalRelay) -> str | None:
    """Return what stops the stream of the relay on this machine."""
    if local.blocked:
        return "RabbitMQ has blocked the connection and accepts no messages"
    if set(local.not_ready) - {"lag"}:
        return f"the relay is not ready: {', '.join(local.not_ready)}"
    if local.held:
        return "RabbitMQ does not accept a message; it is tried again and holds the stream: the relay's log names it"
    return None


def _late(local: LocalRelay) -> str | None:
    return "the relay is not ready: lag" if local.not_ready else None


def _behind(local: LocalRelay) -> str | None:
    if not local.in_flight and local.lag_seconds > _COMES_WITHIN:
        return (
            f"the stream has sent nothing for {local.lag_seconds:.0f} s: Postgres is decoding a large transaction, "
            "or its walsender or the network has stopped"
        )
    return "the relay is not ready: lag" if local.not_ready else None


def _no_report(slot: Slot, at: datetime) -> str | None:
    """Report a walsender that gets no status updates: it has stopped, or its client has."""
    reported = slot.holder_reported_at or slot.holder_since
    if reported is None or at - reported < _REPORTS_WITHIN:
        return None
    return (
        f"the walsender of replication slot {slot.name!r} has had no status update for "
        f"{(at - reported).total_seconds():.0f} s: the walsender, its relay or the network has stopped "
        f"(held by {slot.holder})"
    )


def _does_not_stream(local: LocalRelay) -> str:
    return f"the relay on this machine does not stream; not ready: {', '.join(local.not_ready) or 'starting'}"
