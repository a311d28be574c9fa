"""The engine, and compose on a fresh clone: what the tests of `make containers` run on."""

import json
import os
import subprocess
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from sandbox.machine.waiting import until
from tests.support.commands import ROOT

HEALTHY_SECONDS = 180.0


def run(*words: str | Path, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> str:
    """Run a command and return what it prints; fails with its error output if it fails."""
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def inspect(what: str) -> dict[str, Any]:
    """Return what the engine says of an image or a container."""
    (found,) = json.loads(run("docker", "inspect", what))
    return dict(found)


class Compose:
    """One project of the clone's docker-compose.yml, by Compose v2, or by docker-compose 1.29 where that is missing."""

    def __init__(self, place: Path, project: str, settings: Mapping[str, str]) -> None:
        self.place = place
        self.project = project
        self.settings = settings
        self.environment = {**os.environ, **settings}

    @cached_property
    def words(self) -> list[str]:
        """The command of compose that is here."""
        v2 = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
        return ["docker", "compose"] if v2 else ["docker-compose"]

    def __call__(self, *words: str) -> str:
        """Run a command of compose and return what it prints."""
        return run(*self.words, "--project-name", self.project, *words, cwd=self.place, env=self.environment)

    def up(self, *services: str, profile: str | None = None) -> None:
        """Start services, and wait until each container is healthy, or has ended with 0 as the one-shot ones do."""
        self(*(["--profile", profile] if profile else []), "up", "-d", *services)
        until(self._all_well, what="every container is healthy", seconds=HEALTHY_SECONDS, every=1)

    def psql(self, user: str, statement: str) -> str:
        """Run a statement by psql in Postgres' container, with the URL that `make secrets` made for `user`."""
        url = (self.place / "secrets" / f"{user}_database_url").read_text(encoding="ascii").strip()
        return self("exec", "-T", "postgres", "psql", "-tA", url, "-c", statement).strip()

    def containers(self, service: str | None = None) -> list[str]:
        """Return the names of the project's containers, or of one service's."""
        filters = [f"--filter=label=com.docker.compose.project={self.project}"]
        if service:
            filters.append(f"--filter=label=com.docker.compose.service={service}")
        return run("docker", "ps", "--all", "--format={{.Names}}", *filters).split()

    def left(self) -> list[str]:
        """Return the names of what the engine has of the project: containers, volumes, networks."""
        label = f"--filter=label=com.docker.compose.project={self.project}"
        kinds = [("ps", "--all", "--format={{.Names}}"), ("volume", "ls", "--quiet"), ("network", "ls", "--quiet")]
        return [name for kind in kinds for name in run("docker", *kind, label).split()]

    def active(self) -> str | None:
        """Return the container of the active relay, by its metrics; None if there is none."""
        for name in self.containers("relay"):
            if not state(name).startswith("ended"):
                code = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9187/metrics').read().decode())"
                done = subprocess.run(["docker", "exec", name, "python3", "-c", code], capture_output=True, check=False)
                if b"\nrelay_leader 1.0\n" in done.stdout:
                    return name
        return None

    def _all_well(self) -> bool:
        return all(state(name) in {"healthy", "ended well"} for name in self.containers())


def state(container: str) -> str:
    """Return how it is: healthy, starting, unhealthy, running (nothing checks it), ended well, or ended badly."""
    found = inspect(container)["State"]
    if found["Status"] in {"exited", "dead"}:
        return "ended badly" if found["ExitCode"] else "ended well"
    return str(found.get("Health", {}).get("Status", found["Status"])) if found["Status"] == "running" else "starting"
