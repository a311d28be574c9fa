"""What `make secrets` makes, in a folder of its own."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.commands import ROOT


@pytest.fixture(scope="session")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the script of `make secrets` in an empty checkout, and return the folder that it makes."""
    checkout = tmp_path_factory.mktemp("checkout")
    (checkout / "docker").mkdir()
    shutil.copy2(ROOT / "docker" / "secrets", checkout / "docker" / "secrets")
    subprocess.run([checkout / "docker" / "secrets"], check=True, capture_output=True, cwd="/")
    return checkout / "secrets"


@pytest.fixture(scope="session")
def made(secrets: Path) -> set[str]:
    """Return the names of the files that `make secrets` makes."""
    return {path.name for path in secrets.iterdir()}
