"""`bench http` on real servers with a small load."""

from bench.measures import http
from sandbox import Sandbox


def test_each_kind_of_request_is_answered_and_measured(sandbox: Sandbox) -> None:
    found = list(http.measure(sandbox, rates=[100], seconds=1, window=100))
    assert [(each.what, each.requests) for each in found] == [(kind, 100) for kind in http.KINDS]
    for each in found:
        assert 0 < each.answered_ms.p50 <= each.answered_ms.p99 <= each.answered_ms.max
        assert each.service_us >= 0
