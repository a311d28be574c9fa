"""The kept sandbox: one per checkout, and ended when its checkout is gone. Named servers, so that nothing starts."""

import tempfile
from pathlib import Path

import pytest

from sandbox.lifetime import kept
from sandbox.lifetime.ending import sweep
from sandbox.machine import directories
from sandbox.settings import SandboxSettings


class Checkouts:
    """Two checkouts on one machine; `enter` makes one of them that of the running code."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._path = path
        self._monkeypatch = monkeypatch

    def enter(self, name: str) -> Path:
        """Return the directory of checkout `name`."""
        checkout = self._path / name
        checkout.mkdir(exist_ok=True)
        self._monkeypatch.setattr(directories, "checkout", lambda: checkout)
        return checkout


@pytest.fixture
def checkouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkouts:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("SANDBOX", raising=False)  # who sets it to choose a back end would start servers
    return Checkouts(tmp_path, monkeypatch)


def named(database: str) -> SandboxSettings:
    """Return settings that name servers, which need not exist."""
    url = f"postgresql://127.0.0.1:1/{database}"
    return SandboxSettings(database_url=url, amqp_url="amqp://127.0.0.1:1")


def database() -> str | None:
    """Return the database of this checkout's sandbox."""
    found = kept.find()
    return found.servers.database_url.rpartition("/")[2] if found else None


def test_the_code_runs_from_this_checkout() -> None:
    assert (directories.checkout() / "pyproject.toml").exists()


def test_each_checkout_has_its_own_sandbox(checkouts: Checkouts) -> None:
    checkouts.enter("one")
    kept.up(named("first"))
    checkouts.enter("two")
    assert kept.find() is None
    kept.up(named("second"))
    assert database() == "second"
    checkouts.enter("one")
    assert database() == "first"


def test_down_in_one_checkout_leaves_the_sandbox_of_another(checkouts: Checkouts) -> None:
    checkouts.enter("one")
    kept.up(named("first"))
    checkouts.enter("two")
    assert not kept.down()
    kept.up(named("second"))
    assert kept.down()
    assert kept.find() is None
    checkouts.enter("one")
    sweep()
    assert database() == "first"


def test_up_reports_whether_the_sandbox_ran_already(checkouts: Checkouts) -> None:
    checkouts.enter("one")
    first, running = kept.up(named("first"))
    assert not running
    again, running = kept.up(named("first"))
    assert running
    assert again == first
    _, running = kept.up(named("other"))
    assert not running


def test_the_sandbox_of_a_checkout_that_is_gone_is_removed_by_the_next_start(checkouts: Checkouts) -> None:
    gone = checkouts.enter("one")
    kept.up(named("first"))
    left = directories.kept()
    gone.rmdir()
    checkouts.enter("two")
    kept.up(named("second"))
    assert not left.exists()
    assert database() == "second"


def test_down_also_ends_the_sandbox_that_an_earlier_version_kept_for_the_user(checkouts: Checkouts) -> None:
    checkouts.enter("one")
    kept.up(named("first"))
    directories.kept().rename(directories.kept_per_user())
    checkouts.enter("two")
    sweep()
    assert directories.kept_per_user().exists()
    assert not kept.down()
    assert kept.down_per_user()
    assert not directories.kept_per_user().exists()
