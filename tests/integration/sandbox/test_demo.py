"""`sandbox demo` on real servers: the relay and a consumer are killed, tasks fail, and each is accounted for."""

import json
import os
import subprocess
import sys
from pathlib import Path

from sandbox import Sandbox


def test_the_demo_loses_nothing_and_goes_there_and_back(sandbox: Sandbox) -> None:
    servers = {"SANDBOX_DATABASE_URL": sandbox.servers.database_url, "SANDBOX_AMQP_URL": sandbox.servers.amqp_url}
    done = subprocess.run(
        [Path(sys.executable).parent / "sandbox", "demo", "--tasks", "400", "--rate", "200", "--json"],
        env=os.environ | servers,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["committed"], found["lost"], found["applied_twice"]) == (400, 0, 0)
    states = found["states"]
    assert found["applied_exactly_once"] == states["completed"]
    assert sum(states.values()) == 400
    assert states.keys() <= {"completed", "cancelled", "dead"}
    assert states["cancelled"] > 0
    assert found["tried_again"] > 0
    assert found["runs_that_failed"] >= found["tried_again"] + states.get("dead", 0)
    wrong = ("not_accounted_for", "effects_without_completion", "ran_twice_at_one_version")
    assert [found[name] for name in wrong] == [0, 0, 0]
    assert [(each["from_mode"], each["to_mode"]) for each in found["switches"]] == [
        ("polling", "wal"),
        ("wal", "polling"),
        ("polling", "wal"),
    ]
    assert found["wal_seconds"] > 0
    assert found["polling_seconds"] > 0
