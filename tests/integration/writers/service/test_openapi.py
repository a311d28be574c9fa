"""A running instance against its own /openapi.json, by schemathesis: examples, limits, and what it makes up itself."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.writers.service.stage import Stage
from tests.support.commands import environment

TOKEN = "a-token-of-the-service"
COMMAND = Path(sys.executable).with_name("schemathesis")
EXAMPLES = "25"
_SECONDS = 300


def check(url: str, seed: int, directory: Path, *options: str) -> None:
    """Run schemathesis on the routes that `options` pick; it must find nothing."""
    done = subprocess.run(
        [
            *(COMMAND, "run", f"{url}/openapi.json", "--header", f"Authorization: Bearer {TOKEN}"),
            *("--max-examples", EXAMPLES, "--seed", str(seed % 2**32), "--no-color", "--continue-on-failure"),
            *options,
        ],
        cwd=directory,
        env=environment({"COLUMNS": "120"}),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "Tested" in done.stdout or "passed" in done.stdout, done.stdout


@pytest.mark.parametrize("tag", ["tasks", "events", "service"])
def test_answers_are_as_described(stage: Stage, seed: int, tmp_path: Path, tag: str) -> None:
    service = stage.serve(token=TOKEN)
    check(service.url, seed, tmp_path, "--include-tag", tag)
    assert service.command.running
    assert not [line for line in service.command.log if line["event"] == "bug"]
