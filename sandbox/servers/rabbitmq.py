"""A private RabbitMQ, run by this machine's programs, with its own node name, ports, epmd and files."""

import re
import secrets
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from outboxkit.errors import Problem
from sandbox.machine import processes, programs, waiting
from sandbox.machine.accounts import Account, account, caller
from sandbox.servers import amqp
from sandbox.servers.backend import Extra

USER = "sandbox"
CONTROL = ("rabbitmqctl", "--quiet")
_START_SECONDS = 90.0
_STOP_SECONDS = 60.0
_CONFIGURATION = """\
default_user = {user}
default_pass = {password}
log.console = false
"""
# At boot RabbitMQ loads about a thousand modules and looks for each in every directory of the code path. By default
# that path begins with every available plugin: 52,000 lookups fail and take half of the CPU time (measured with 3.10:
# 3.7 s against 2.0 s). Here the only plugin is RabbitMQ's core, and the directories with most modules come first.
_EARLY = (
    *("rabbit", "rabbit_common", "ssl", "inets", "compiler", "ra", "xmerl", "mnesia"),
    *("rabbitmq_prelaunch", "ranch", "tools", "osiris"),
)


@dataclass(frozen=True)
class Ports:
    """The ports of one node: AMQP, Erlang distribution, Erlang port mapper."""

    amqp: int
    distribution: int
    epmd: int


def url(*, port: int, password: str) -> str:
    """Return the URL of the default virtual host."""
    return f"amqp://{USER}:{password}@127.0.0.1:{port}/%2F"


def controlled(arguments: Sequence[str], code: int, output: str) -> str:
    """Return what `rabbitmqctl` printed; raises Problem when it failed."""
    if code != 0:
        raise Problem(f"rabbitmqctl {arguments[0]} failed: {output.strip()}", remedy="see RabbitMQ's log")
    return output.strip()


class Rabbitmq:
    """One node in `home`; `script` is `rabbitmq-server`. `name` differs where several nodes are one cluster."""

    def __init__(self, home: Path, *, script: Path, ports: Ports, password: str, name: str = "sandbox") -> None:
        self.url = url(port=ports.amqp, password=password)
        self.name = f"{name}@localhost"
        """The Erlang node's name, as `rabbitmqctl` prints it."""
        self._home = home
        self._script = script
        self._ports = ports
        self._password = password
        self._plugins = home / "plugins"
        self.log = home / "log" / "rabbitmq.log"
        """Its log."""

    def create(self, extra: Extra | None = None) -> None:
        """Make the node's files; the node is not started."""
        extra = extra or Extra()
        user = server_account()
        configuration = _CONFIGURATION.format(user=USER, password=self._password) + extra.configuration
        self._home.mkdir(mode=0o700)
        user.own(self._home)
        for name, text in (
            ("rabbitmq.conf", configuration),
            ("advanced.config", "[].\n"),
            ("enabled_plugins", "[].\n"),
            ("environment.conf", ""),
            (".erlang.cookie", secrets.token_hex(20)),
            *extra.files.items(),
        ):
            user.entrust(self._home / name, text)
        self._plugins.mkdir(mode=0o755)
        for application in _applications(self._script, ("rabbit",)):
            (self._plugins / application.name).symlink_to(application)

    def start(self) -> None:
        """Start it, and return when it accepts connections; does nothing when it runs."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start it without waiting for it; does nothing when it runs."""
        if not self.running():
            processes.spawn(
                self._home,
                [str(self._script)],
                account=server_account(),
                environment=self._environment(),
                log=self._home / "start.log",
            )

    def wait(self) -> None:
        """Return when it accepts connections; raises Problem when it ends instead."""
        waiting.until(self._answers, what="RabbitMQ accepts connections", seconds=_START_SECONDS)

    def stop(self) -> None:
        """Stop it cleanly: on SIGTERM, the Erlang VM calls `init:stop()`."""
        if not processes.send(self._home, signal.SIGTERM, program="beam", timeout=_STOP_SECONDS):
            raise Problem(f"RabbitMQ did not stop within {_STOP_SECONDS:g} s", remedy=f"see {self.log}")
        processes.end(self._home)

    def kill(self) -> None:
        """Kill the whole node with SIGKILL, and the port mapper that it started."""
        processes.end(self._home)

    def freeze(self) -> None:
        """Stop its Erlang VM where it is, until `thaw`: its connections stay open, and nothing answers."""
        processes.suspend(self._home, program="beam")

    def thaw(self) -> None:
        """Let it go on; does nothing when it was not frozen."""
        processes.send(self._home, signal.SIGCONT, program="beam")

    def control(self, *arguments: str) -> str:
        """Run `rabbitmqctl` beside the node and return what it prints; raises Problem when it fails."""
        program, *options = CONTROL
        done = subprocess.run(
            [self._script.resolve().parent / program, *options, *arguments],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self._home,
            env=processes.marked(self._home, self._environment()),
            **server_account().credentials,
        )
        return controlled(arguments, done.returncode, done.stdout)

    def running(self) -> bool:
        """Return whether the node's Erlang VM, or the script that starts it, runs."""
        return any(process.program != "epmd" for process in processes.belonging(self._home))

    def version(self) -> str | None:
        """Return its version; None when it does not answer."""
        return amqp.version("127.0.0.1", self._ports.amqp)

    def _answers(self) -> bool:
        if self.version() is not None:
            return True
        if not self.running():
            raise Problem(f"RabbitMQ ended while starting: {self._last_error()}", remedy=f"see {self.log}")
        return False

    def _last_error(self) -> str:
        for path in (self.log, self._home / "start.log"):
            if path.exists():
                text = path.read_text(encoding="utf-8", errors="replace")
                errors = re.findall(r"\[error\] \S+ *(\S.*)", text) or text.strip().splitlines()[-1:]
                if errors:
                    return str(errors[0])
        return "nothing was logged"

    def _environment(self) -> dict[str, str]:
        """Return the node's whole environment, without the user's: those settings may be for another node."""
        home = str(self._home)
        return {
            "PATH": programs.search_path(),
            "LANG": "C.UTF-8",
            "HOME": home,
            "TMPDIR": home,
            "RABBITMQ_CONF_ENV_FILE": f"{home}/environment.conf",
            "RABBITMQ_CONFIG_FILE": f"{home}/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{home}/advanced.config",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{home}/enabled_plugins",
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self._ports.amqp),
            "RABBITMQ_DIST_PORT": str(self._ports.distribution),
            "RABBITMQ_MNESIA_BASE": f"{home}/mnesia",
            "RABBITMQ_LOG_BASE": f"{home}/log",
            "RABBITMQ_LOGS": str(self.log),
            "RABBITMQ_PID_FILE": f"{home}/pid",
            "RABBITMQ_PLUGINS_EXPAND_DIR": f"{home}/expanded",
            "RABBITMQ_GENERATED_CONFIG_DIR": f"{home}/config",
            "RABBITMQ_SCHEMA_DIR": f"{home}/schema",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._ports.epmd),
            "ERL_CRASH_DUMP_SECONDS": "0",
            # For every Erlang VM, also the short-lived ones that RabbitMQ itself starts.
            "ERL_FLAGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            **self._code_path(),
        }

    def _code_path(self) -> dict[str, str]:
        """Shorten the code path; if RabbitMQ's applications are not found, its own default stays."""
        if not any(self._plugins.iterdir()):
            return {}
        early = [f"{directory}/ebin" for directory in _applications(self._script, _EARLY)]
        return {
            "RABBITMQ_PLUGINS_DIR": str(self._plugins),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"-pa {' '.join(early)}",
        }


def server_account() -> Account:
    """Return the user `rabbitmq` if its package made it; a build from source has none and runs as the caller."""
    try:
        return account("rabbitmq")
    except Problem:
        return caller()


def _applications(script: Path, names: tuple[str, ...]) -> list[Path]:
    """Return those directories of these applications, of RabbitMQ and of Erlang, that exist."""
    places = [script.resolve().parent.parent / "plugins", programs.erlang_libraries()]
    return [path for name in names for place in places for path in sorted(place.glob(f"{name}-[0-9]*"))]
