"""What shadow mode finds, from observations to the line of `relay status`."""

from prometheus_client import generate_latest

from relay.core.observations import Difference, ShadowCompared, ShadowCompares, ShadowDiffers, ShadowPauses
from relay.operating.status.local_relay import Lead, ShadowSummary, read, shadow
from relay.operating.status.shadow import summary
from relay.watching.metrics import About, Metrics


def summed(*seen: ShadowCompared | ShadowCompares | ShadowDiffers | ShadowPauses) -> ShadowSummary | None:
    """Return what `relay status` reads from the metrics of a relay that has seen this."""
    metrics = Metrics()
    metrics.identify(About("relay", "slot", "database", "1"))
    for each in seen:
        metrics(each)
    _, samples = read(generate_latest(metrics.registry).decode())
    return shadow(samples)


def missing(kind: str) -> Difference:
    return Difference(kind, "id", 1, 2, "order", "1")


def test_a_relay_without_a_shadow_has_no_summary() -> None:
    assert summed() is None


def test_a_summary_has_what_was_compared_and_who_was_first() -> None:
    found = summed(ShadowCompares("polling", 7), ShadowCompared([0.5, 0.25, 0.75], [0.1]))
    assert found == ShadowSummary("polling", True, 4, {}, {}, Lead(3, 0.5), Lead(1, 0.1))
    assert summary(found) == (
        "polling: 4 events compared, no difference; the live stream was first for 3, by 0.50 s on average; "
        "the shadow was first for 1, by 0.10 s on average"
    )


def test_differences_are_named_by_their_kind() -> None:
    found = summed(
        ShadowCompares("wal", 7),
        ShadowCompared([], [0.1]),
        ShadowDiffers([missing("order"), missing("missing_live"), missing("order")]),
    )
    assert found is not None
    assert "1 events compared, differences: missing_live 1, order 2" in summary(found)


def test_no_event_is_no_success() -> None:
    found = summed(ShadowCompares("wal", 7), ShadowPauses("wal", "behind"))
    assert found is not None
    assert (
        summary(found) == "wal: 0 events compared, so nothing is known yet; pauses now; paused 1 times: it fell behind"
    )
