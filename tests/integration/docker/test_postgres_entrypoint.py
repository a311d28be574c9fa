"""The entrypoint of the Postgres image, run by this machine's Postgres: a cluster appears whole, or not at all."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from sandbox.machine import packages, ports
from sandbox.machine.accounts import account
from sandbox.machine.waiting import until
from sandbox.servers.postgres import USER
from tests.support.commands import ROOT

PASSWORD = "planted-password"
SECONDS = 60.0
TRIES = 3
"""A test that the machine holds up kills the container when the cluster is complete."""


class Container:
    """What the container would have: a volume, a password file and a port."""

    def __init__(self, place: Path) -> None:
        (self._port,) = ports.free(1, taken=frozenset())
        self.cluster = place / "cluster"
        self.aside = place / "cluster.incomplete"
        self._entrypoint = place / "entrypoint"
        shutil.copy(ROOT / "docker" / "postgres" / "entrypoint", self._entrypoint)
        account(USER).entrust(place / "secret", PASSWORD + "\n")
        self._environment = {
            "PATH": f"{packages.require().postgres}:/usr/bin:/bin",
            "PGDATA": str(self.cluster),
            "TMPDIR": str(place),
            "PASSWORD_FILE": str(place / "secret"),
            "CONFIGURATION": f"port = {self._port}\nlisten_addresses = '127.0.0.1'",
        }
        self.log = place / "log"

    def start(self, **environment: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [self._entrypoint],
                env=self._environment | environment,
                stdout=log,
                stderr=log,
                cwd=self.cluster.parent,
                start_new_session=True,
                **account(USER).credentials,
            )

    def remove(self) -> None:
        """Remove what a start has left."""
        for place in (self.cluster, self.aside):
            shutil.rmtree(place, ignore_errors=True)

    def url(self, user: str, password: str, database: str) -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self._port}/{database}"

    def answers(self) -> bool:
        url = self.url(USER, PASSWORD, "postgres")
        try:
            with psycopg.connect(url, connect_timeout=5) as connection:
                return connection.execute("SHOW wal_level").fetchone() == ("logical",)
        except psycopg.OperationalError:
            return False


@pytest.fixture
def container() -> Iterator[Container]:
    # Not pytest's tmp_path: the server's user needs access to it.
    place = Path(tempfile.mkdtemp(prefix="entrypoint-"))
    account(USER).own(place)
    try:
        yield Container(place)
    finally:
        shutil.rmtree(place)


def _ended(process: subprocess.Popen[bytes], number: signal.Signals) -> int:
    """End the whole container."""
    os.killpg(process.pid, number)
    return process.wait(SECONDS)


def test_a_first_start_that_is_killed_is_made_anew_by_the_next_one(container: Container) -> None:
    for _ in range(TRIES):
        process = container.start()
        until((container.aside / "base").exists, what="initdb has begun", seconds=SECONDS, every=0.005)
        _ended(process, signal.SIGKILL)
        if not container.cluster.exists():
            break
        container.remove()
    assert container.aside.exists()

    process = container.start()
    try:
        until(container.answers, what="the server answers with the password of the file", seconds=SECONDS)
        assert not container.aside.exists()
        assert not (container.cluster.parent / "password").exists()
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0


def test_without_a_password_it_says_what_to_set(container: Container) -> None:
    assert container.start(PASSWORD_FILE="").wait(SECONDS) != 0
    assert "set PASSWORD, or PASSWORD_FILE" in container.log.read_text()


def test_a_volume_that_is_older_than_the_service_gets_its_login_as_the_page_says(container: Container) -> None:
    place = container.cluster.parent
    for secret in ("owner", "relay", "consumer", "application", "service", "operator"):
        (place / f"{secret}_password").write_text(f"secret-of-{secret}\n", encoding="ascii")
    _here(ROOT / "docker" / "postgres" / "initial.sql", place)
    shutil.copy(ROOT / "sql" / "roles.sql", place)
    page = (ROOT / "docs" / "containers.md").read_text(encoding="utf-8")
    (by_hand,) = re.findall(r"postgres outbox' <<'SQL'\n(.*?)^    SQL$", page, re.MULTILINE | re.DOTALL)
    process = container.start()
    try:
        until(container.answers, what="the server answers", seconds=SECONDS)
        psql: list[str | Path] = [packages.require().postgres / "psql", "--no-psqlrc", "--set", "ON_ERROR_STOP=1"]
        first = [*psql, "--set", "database=outbox", "--file", place / "initial.sql"]
        subprocess.run([*first, container.url(USER, PASSWORD, "postgres")], check=True, capture_output=True)
        with psycopg.connect(container.url(USER, PASSWORD, "outbox"), autocommit=True) as connection:
            connection.execute("DROP OWNED BY outbox_service, outbox_demo")
            connection.execute("DROP ROLE outbox_service, outbox_demo")
        owner = container.url("outbox_owner", "secret-of-owner", "outbox")
        grants = [*psql, "--file", place / "roles.sql", owner]
        refused = subprocess.run(grants, check=False, capture_output=True, text=True)
        assert (refused.returncode, "permission denied to create role" in refused.stderr) == (3, True), refused.stderr
        by_hand = by_hand.replace("/run/secrets/", f"{place}/").replace("/usr/local/share/outbox-relay", str(place))
        superuser = [*psql, container.url(USER, PASSWORD, "outbox")]
        subprocess.run(superuser, check=True, capture_output=True, text=True, input=by_hand)
        subprocess.run(grants, check=True, capture_output=True)
        with psycopg.connect(container.url("outbox_service", "secret-of-service", "outbox")) as connection:
            member = connection.execute("SELECT pg_has_role('outbox_demo', 'MEMBER')").fetchone()
        assert member == (True,)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0


def test_the_first_start_makes_a_login_for_each_secret_and_no_login_may_do_what_another_is_for(
    container: Container,
) -> None:
    """The entrypoint runs initial.sql through a socket, from places that only the image has."""
    place = container.cluster.parent
    logins = {name: f"outbox_{name}" for name in ("owner", "relay", "consumer", "service")}
    logins |= {name: name for name in ("application", "operator")}
    members = {login: {login} for login in logins.values()} | {
        "application": {"outbox_writer"},
        "operator": {"outbox_operator"},
        "outbox_service": {"outbox_service", "outbox_demo"},
    }
    for secret in logins:
        (place / f"{secret}_password").write_text(f"secret-of-{secret}\n", encoding="ascii")
    _here(ROOT / "docker" / "postgres" / "initial.sql", place)
    shutil.copy(ROOT / "sql" / "roles.sql", place)
    process = container.start()
    try:
        until(container.answers, what="the server answers", seconds=SECONDS)
        psql: list[str | Path] = [packages.require().postgres / "psql", "--no-psqlrc"]
        psql += ["--set", "ON_ERROR_STOP=1", "--set", "database=shop", "--file", place / "initial.sql"]
        subprocess.run([*psql, container.url(USER, PASSWORD, "postgres")], check=True, capture_output=True)
        for secret, login in logins.items():
            with psycopg.connect(container.url(login, f"secret-of-{secret}", "shop")) as connection:
                roles = connection.execute(
                    "SELECT rolname FROM pg_roles WHERE rolname LIKE 'outbox%' AND pg_has_role(oid, 'MEMBER')"
                ).fetchall()
            assert {name for (name,) in roles} == members[login]
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0


def _here(script: Path, place: Path) -> None:
    """Copy `script` to `place`, where it finds its secrets."""
    text = script.read_text(encoding="utf-8")
    (place / script.name).write_text(text.replace("/run/secrets/", f"{place}/"), encoding="utf-8")
