"""The peer pg-transactional-outbox: its lock file."""

import json
from pathlib import Path

import pytest

from bench.compare.peers import pg_transactional_outbox
from bench.load.peers import installing

_LOCK = Path(installing.__file__).parent / "pg_transactional_outbox" / "package-lock.json"


@pytest.fixture(name="packages")
def _packages() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(_LOCK.read_text(encoding="utf-8"))["packages"]
    del found[""]
    return found


def test_the_version_that_is_reported_is_the_one_that_is_installed(packages: dict[str, dict[str, str]]) -> None:
    installed = packages["node_modules/pg-transactional-outbox"]["version"]
    assert pg_transactional_outbox.SEGMENTS.arm.name.split() == ["pg-transactional-outbox", installed]


def test_each_package_is_pinned_by_its_hash_and_comes_from_the_registry_that_is_configured(
    packages: dict[str, dict[str, str]],
) -> None:
    assert all(each["integrity"].startswith("sha512-") for each in packages.values())
    assert not any("resolved" in each for each in packages.values())
