"""A private Redis, run by this machine's program, with its own port and password; it keeps nothing on disk."""

import socket
from pathlib import Path

from outboxkit.errors import Problem
from sandbox.machine import processes, waiting
from sandbox.machine.accounts import Account, account, caller

_START_SECONDS = 20.0
_ANSWER_SECONDS = 2.0
# With its title in `ps`, Redis would overwrite its environment, and with it the sandbox's mark.
# https://redis.io/docs/latest/operate/oss_and_stack/management/config/
_CONFIGURATION = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir {home}
daemonize no
set-proc-title no
save ""
appendonly no
"""


class Redis:
    """One server in `home`; `program` is `redis-server`."""

    def __init__(self, home: Path, *, program: Path, port: int, password: str) -> None:
        self.url = f"redis://:{password}@127.0.0.1:{port}/0"
        self.home = home
        """The part of the sandbox's directory that its process belongs to."""
        self._program = program
        self._port = port
        self._password = password
        self._log = home / "redis.log"

    def create(self) -> None:
        """Make its directory and its configuration, if an earlier attempt did not; the server is not started."""
        user = _account()
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        user.own(self.home)
        text = _CONFIGURATION.format(port=self._port, password=self._password, home=self.home)
        user.entrust(self.home / "redis.conf", text)

    def start(self) -> None:
        """Start it, and return when it answers; does nothing when it runs."""
        if not self.running():
            command = [str(self._program), str(self.home / "redis.conf")]
            environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
            processes.spawn(self.home, command, account=_account(), environment=environment, log=self._log)
        waiting.until(self._answers, what="Redis accepts connections", seconds=_START_SECONDS, every=0.01)

    def kill(self) -> None:
        """Kill it with SIGKILL; all that it held is gone."""
        processes.end(self.home)

    def running(self) -> bool:
        """Return whether its process runs, also while it is stopped by a signal."""
        return bool(processes.belonging(self.home))

    def version(self) -> str | None:
        """Return its version; None when it does not answer."""
        for line in self.command("INFO server").splitlines():
            if line.startswith("redis_version:"):
                return line.partition(":")[2]
        return None

    def command(self, line: str) -> str:
        """Run one command that has no quotes in it, and return the answer as Redis sends it; "" without one.

        https://redis.io/docs/latest/develop/reference/protocol-spec/#inline-commands
        """
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=_ANSWER_SECONDS) as connection:
                connection.sendall(f"AUTH {self._password}\r\n{line}\r\nQUIT\r\n".encode("ascii"))
                answer = b"".join(iter(lambda: connection.recv(65536), b""))
        except OSError:
            return ""
        return answer.decode("utf-8", "replace").removeprefix("+OK\r\n").removesuffix("+OK\r\n")

    def _answers(self) -> bool:
        if self.command("PING") == "+PONG\r\n":
            return True
        if not self.running():
            last = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            raise Problem(f"Redis ended while starting: {' '.join(last)}", remedy=f"see {self._log}")
        return False


def _account() -> Account:
    """Return the user `redis` if its package made it; a build from source has none and runs as the caller."""
    try:
        return account("redis")
    except Problem:
        return caller()
