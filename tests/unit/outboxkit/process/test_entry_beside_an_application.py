"""The commands, started in the directory of an application that has packages with our names."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
NAMES = ("messaging", "sql", "runtime", "sandbox", "bench", "relay", "consumers", "writers")


@pytest.fixture
def application(tmp_path: Path) -> Path:
    """Return a directory with packages of our names; importing one of them by mistake raises."""
    for name in NAMES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('a package of the application')\n")
    return tmp_path


def ended(application: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=application, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", ["relay", "consumers", "writers"])
@pytest.mark.parametrize("path", ["", "."])
def test_a_command_finds_its_package(name: str, path: str, application: Path) -> None:
    done = ended(application, str(BIN / name), "--help", PYTHONPATH=path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Usage: {name}" in done.stdout


def test_python_dash_m_finds_our_package_beside_all_names_but_its_own(application: Path) -> None:
    (application / "consumers" / "__init__.py").unlink()  # a folder without it comes after our package
    done = ended(application, sys.executable, "-m", "consumers", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: consumers" in done.stdout
