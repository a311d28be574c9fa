"""What the locking demo needs on the machine, and which addresses it takes."""

import pytest

from outboxkit.errors import ConfigurationProblem, Problem
from writers.locking import balancer, processes
from writers.locking.client import Service


def test_without_nginx_it_says_how_to_install_it_and_how_to_do_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(processes, "_SYSTEM_PLACES", ())
    with pytest.raises(Problem) as raised, balancer.started(["127.0.0.1:1"]):
        pytest.fail("there is no nginx")
    assert str(raised.value) == (
        "nginx is not installed - install the package nginx (Debian, Ubuntu, as root: apt-get install nginx), "
        "or name a running set with --url"
    )


@pytest.mark.parametrize(
    "url", ["", "localhost:8080", "ftp://host", "http://", "http://host:99999", "http://host/?a=1", "http://[::1"]
)
def test_what_is_no_address_of_a_service_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationProblem, match="write http://host:port"):
        Service(url)
