"""`sandbox locking-demo` on real servers: the project's command with its options, output and exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

from sandbox import Sandbox


def test_it_passes_options_output_and_exit_code_through(sandbox: Sandbox) -> None:
    servers = {"SANDBOX_DATABASE_URL": sandbox.servers.database_url, "SANDBOX_AMQP_URL": sandbox.servers.amqp_url}

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        words = [str(Path(sys.executable).parent / "sandbox"), "locking-demo", *options]
        return subprocess.run(words, env=os.environ | servers, capture_output=True, text=True, check=False)

    done = run("--json", "--requests", "6", "--seconds", "0.2", "--workers", "2")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["good"] is True
    assert found["with_skip_locked"]["successful"] == 6
    assert found["with_skip_locked"]["instances"].keys() == {"writers-1", "writers-2"}
    assert run("--requests", "0").returncode == 2
