"""The locking demo on private servers: `writers locking-demo` as a command, with nginx from this machine's packages."""

import subprocess
from collections.abc import Sequence

from rich.console import Console

from sandbox.demo.stage import Stage
from sandbox.lifetime.starting import start
from sandbox.machine import commands, packages, processes
from sandbox.settings import SandboxSettings


def demo(settings: SandboxSettings, arguments: Sequence[str], *, console: Console) -> int:
    """Run `writers locking-demo` with `arguments`, and return its exit code."""
    packages.nginx()
    console.print("starting a private Postgres and RabbitMQ ...", highlight=False)
    with start(settings) as box, box.isolated() as isolated:
        stage = Stage(box.directory, isolated)
        stage.call("relay", "setup")
        environment = processes.marked(box.directory, commands.environment(stage.settings))
        return subprocess.run(
            commands.found(["writers", "locking-demo", *arguments]), env=environment, check=False
        ).returncode
