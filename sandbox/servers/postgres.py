"""A private Postgres, run by this machine's programs, with its own data directory, port and password."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from outboxkit.errors import Problem
from sandbox.machine import processes
from sandbox.machine.accounts import account
from sandbox.servers.backend import Extra, StopMode

USER = "postgres"
STANDBY = "standby"
"""What a standby calls itself at its primary, and the physical slot between them if there is one."""
_CLUSTER = "cluster"
_START_SECONDS = 60
_STOP_SECONDS = 60
# By default, dynamic shared memory is files in /dev/shm, which a SIGKILL leaves behind; with mmap they are in the data
# directory (https://www.postgresql.org/docs/current/runtime-config-resource.html). A Unix socket would be outside the
# directory, or limit the length of its path.
_CONFIGURATION = """\
listen_addresses = '{address}'
port = {port}
unix_socket_directories = ''
dynamic_shared_memory_type = mmap
shared_buffers = 128MB
max_connections = 200
wal_level = logical
max_replication_slots = 40
max_wal_senders = 40
fsync = on
track_commit_timestamp = on
timezone = 'UTC'
log_timezone = 'UTC'
"""
PLUGINS = "output_plugin_libraries = 'pgoutput, test_decoding, wal2json'\n"
"""Added to the configuration of a server that has the parameter; other servers would not start with it."""
# --no-sync skips only initdb's own flush; the server runs with fsync on.
INITDB_OPTIONS = (
    *("--username", USER, "--auth", "scram-sha-256", "--encoding", "UTF8"),
    *("--no-locale", "--no-sync", "--no-instructions"),
)


def configuration(*, address: str, port: int) -> str:
    """Return the lines that are appended to postgresql.conf."""
    return _CONFIGURATION.format(address=address, port=port)


def url(*, port: int, password: str) -> str:
    """Return the URL of the superuser's database."""
    return f"postgresql://{USER}:{password}@127.0.0.1:{port}/{USER}"


def forget_crash(home: Path) -> None:
    """Remove the lock file and the shared memory of a killed server; call it only when no process of it runs.

    Postgres does so at its next start, but not while a zombie still has the pid: then it refuses to start. The file's
    seventh line names a small System V segment by key and id
    (https://www.postgresql.org/docs/current/storage-file-layout.html); proc_sysvipc(5) shows whether the segment still
    has that key.
    """
    lock = home / _CLUSTER / "postmaster.pid"
    try:
        key, identifier = lock.read_text(encoding="ascii").splitlines()[6].split()
        segments = Path("/proc/sysvipc/shm").read_text(encoding="ascii").splitlines()[1:]
    except (OSError, IndexError, ValueError):
        key, identifier, segments = "", "", []
    for segment in segments:
        fields = segment.split()
        if fields[:2] == [key, identifier] and fields[6] == "0":  # nobody is attached
            # As the segment's owner: root in a container may not remove it.
            remove = ["ipcrm", "--shmem-id", identifier]
            subprocess.run(remove, check=False, capture_output=True, **account(USER).credentials)
    lock.unlink(missing_ok=True)


def _as_standby(primary: "Postgres") -> str:
    """Return the URL by which a standby connects; it names a database, which the copying of slots needs."""
    return f"{primary.url}?application_name={STANDBY}"


class Postgres:
    """One server in `home`; `programs` is the directory that holds initdb, pg_ctl and postgres."""

    def __init__(self, home: Path, *, programs: Path, port: int, password: str) -> None:
        self.url = url(port=port, password=password)
        self._home = home
        self._programs = programs
        self._port = port
        self.password = password
        """The superuser's."""
        self.cluster = home / _CLUSTER
        """The data directory."""
        self._log = home / "postgres.log"

    def follow(self, primary: "Postgres", *, slot: bool = False) -> None:
        """Make the data directory of a standby of `primary`, which runs; the standby is not started.

        With `slot`, a physical slot on the primary keeps WAL for it. A data directory that is there is replaced.
        """
        self._home.mkdir(mode=0o700, exist_ok=True)
        account(USER).own(self._home)
        shutil.rmtree(self.cluster, ignore_errors=True)
        options = ["--checkpoint", "fast", "--write-recovery-conf", "--no-sync"]
        if slot:
            options += ["--create-slot", "--slot", STANDBY]
        self.run("pg_basebackup", "--pgdata", str(self.cluster), "--dbname", _as_standby(primary), *options)
        with (self.cluster / "postgresql.conf").open("a", encoding="ascii") as file:
            file.write(f"port = {self._port}\n")

    def turn_to(self, primary: "Postgres") -> None:
        """Let this server, which is stopped, start as a standby of `primary`, with the data and the slots that it has.

        It can follow if its own WAL ends before the primary was promoted, as after a stop in order.
        """
        account(USER).entrust(self.cluster / "standby.signal", "")
        with (self.cluster / "postgresql.auto.conf").open("a", encoding="ascii") as file:
            file.write(f"primary_conninfo = '{_as_standby(primary)}'\n")

    def promote(self) -> None:
        """Make this standby a primary, and return when it takes writes."""
        self.run("pg_ctl", "promote", "--timeout", str(_START_SECONDS), "--silent")

    def create(self, extra: Extra | None = None) -> None:
        """Make the data directory; the server is not started."""
        extra = extra or Extra()
        self._home.mkdir(mode=0o700)
        user = account(USER)
        user.own(self._home)
        password = self._home / "password"
        user.entrust(password, self.password)
        self.run("initdb", "--pgdata", str(self.cluster), "--pwfile", str(password), *INITDB_OPTIONS)
        password.unlink()
        with (self.cluster / "postgresql.conf").open("a", encoding="ascii") as file:
            file.write(configuration(address="127.0.0.1", port=self._port))
            if self._has_parameter("output_plugin_libraries"):
                file.write(PLUGINS)
            file.write(extra.configuration)
        for name, text in extra.files.items():
            user.entrust(self.cluster / name, text)

    def start(self) -> None:
        """Start it, and return when it accepts connections; does nothing when it runs."""
        if not self.running():
            forget_crash(self._home)
            self.run("pg_ctl", "start", "--wait", "--timeout", str(_START_SECONDS), "--silent", "--log", str(self._log))

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop it; a fast stop waits until every walsender has sent all WAL, and raises Problem after 60 s."""
        if self.running():
            self.run("pg_ctl", "stop", "--mode", mode, "--timeout", str(_STOP_SECONDS), "--silent")

    def upgrade(self, old: Self) -> None:
        """Take over all that `old` has, by pg_upgrade. Both are stopped, and this one is as it was created.

        The superuser has the password of `old` then. https://www.postgresql.org/docs/current/pgupgrade.html
        """
        trusted = "local all all trust\n"
        with self._authentication(trusted), old._authentication(trusted):
            self.run(
                "pg_upgrade", "--old-bindir", str(self._programs), "--new-bindir", str(self._programs),
                "--old-datadir", str(old.cluster), "--new-datadir", str(self.cluster),
                "--username", USER, "--socketdir", str(self._home),
            )  # fmt: skip
        self.url = url(port=self._port, password=old.password)

    def kill(self) -> None:
        """Kill the whole server with SIGKILL."""
        processes.end(self._home)

    def running(self) -> bool:
        """Return whether any process of the server runs."""
        return bool(processes.belonging(self._home))

    def _has_parameter(self, parameter: str) -> bool:
        """Return whether this version has `parameter` (`postgres -C` refuses an unknown one)."""
        return self._call("postgres", "-C", parameter).returncode == 0

    @contextmanager
    def _authentication(self, text: str) -> Iterator[None]:
        """Let pg_hba.conf be `text` for the block."""
        file = self.cluster / "pg_hba.conf"
        kept = file.read_text(encoding="ascii")
        account(USER).entrust(file, text)
        try:
            yield
        finally:
            account(USER).entrust(file, kept)

    def run(self, program: str, *arguments: str) -> None:
        """Run one of its programs on its data directory; raises Problem if that fails."""
        run = self._call(program, *arguments)
        if run.returncode != 0:
            log = self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""
            fatal = re.findall(r"(?:FATAL|PANIC|ERROR): .*", log)[-1:] or run.stderr.splitlines()[-3:]
            raise Problem(f"Postgres: {program} failed: {' '.join(fatal)}", remedy=f"see {self._log}")

    def _call(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin", "PGDATA": str(self.cluster)}
        # The server inherits standard output and error from pg_ctl, and would keep a pipe open.
        with (self._home / f"{program}.out").open("w+", encoding="utf-8", errors="replace") as output:
            run = subprocess.run(
                [self._programs / program, *arguments],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._home,
                env=processes.marked(self._home, environment),
                start_new_session=True,
                **account(USER).credentials,
            )
            output.seek(0)
            return subprocess.CompletedProcess(run.args, run.returncode, "", output.read())
