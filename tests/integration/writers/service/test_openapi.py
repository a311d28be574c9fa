"""A running instance against its own /openapi.json, by schemathesis: examples, limits, and what it makes up itself."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.writers.service.stage import Stage
from tests.support.commands import environment

TOKEN = "a-token-of-the-service"
COMMAND = Path(sys.executable).with_name("schemathesis")
EXAMPLES = "10"
# What is valid by its form may still be refused: a key that another body has used, a version that the task no longer
# has, a cursor of no page, two names that are too long together.
WITHOUT = "positive_data_acceptance"
# A grab works for `seconds`.
CONFIGURATION = """
[[operations]]
include-path = "/grab-task"
parameters = { seconds = 0 }
"""
_SECONDS = 300


def check(url: str, seed: int, directory: Path, tag: str) -> str:
    """Run schemathesis on the routes of `tag`; it must find nothing."""
    (directory / "schemathesis.toml").write_text(CONFIGURATION, encoding="ascii")
    done = subprocess.run(
        [
            *(
                COMMAND,
                "run",
                f"{url}/openapi.json",
                "--include-tag",
                tag,
                "--header",
                f"Authorization: Bearer {TOKEN}",
            ),
            *("--checks", "all", "--exclude-checks", WITHOUT, "--max-examples", EXAMPLES, "--seed", str(seed % 2**32)),
            *("--no-color", "--continue-on-failure"),
        ],
        cwd=directory,
        env=environment({"COLUMNS": "120"}),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize(("tag", "routes"), [("tasks", 5), ("events", 1), ("service", 1), ("locking demo", 3)])
def test_answers_are_as_described(stage: Stage, seed: int, tmp_path: Path, tag: str, routes: int) -> None:
    stage.allow_demo()
    service = stage.serve(token=TOKEN, demo="true")
    assert f"Tested: {routes}\n" in check(service.url, seed, tmp_path, tag)
    assert service.command.running
    assert not [line for line in service.command.log if line["event"] == "bug"]
