"""The real PgBouncer in front of the sandbox's Postgres, in transaction mode: each transaction may get another session.

Its pool is small on purpose, and sessions are taken in turn: what relies on a session breaks at once.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from sandbox.machine import packages, ports
from sandbox.machine.accounts import account
from sandbox.machine.waiting import until

_CONFIGURATION = """\
[databases]
* = host={host} port={server_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = {mode}
default_pool_size = 4
server_round_robin = 1
max_client_conn = 200
"""


@contextmanager
def pgbouncer(url: str, *, mode: str = "transaction") -> Iterator[str]:
    """Run PgBouncer for the user of `url`; yields the URL that goes through it."""
    program, who = packages.pgbouncer(), account("postgres")
    place = urlsplit(url)
    (port,) = ports.free(1)
    directory = Path(tempfile.mkdtemp(prefix="sandbox-pgbouncer-"))
    try:
        who.own(directory)
        users, configuration = directory / "users.txt", directory / "pgbouncer.ini"
        who.entrust(users, f'"{place.username}" "{place.password}"\n')
        who.entrust(
            configuration,
            _CONFIGURATION.format(host=place.hostname, server_port=place.port, port=port, users=users, mode=mode),
        )
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [program, configuration],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=directory,
                **who.credentials,
            )
        through = place._replace(netloc=f"{place.username}:{place.password}@127.0.0.1:{port}").geturl()
        try:
            until(lambda: _answers(through), what="PgBouncer answers", seconds=30)
            yield through
        finally:
            process.terminate()
            process.wait(20)
    finally:
        shutil.rmtree(directory)


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True
