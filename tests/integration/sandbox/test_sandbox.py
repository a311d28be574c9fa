"""The sandbox on real servers: it starts beside others, its servers can be killed, and it leaves nothing behind."""

import asyncio
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import LiteralString
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import pq

from outboxkit.amqp.connection import Connection
from outboxkit.amqp.errors import ChannelRefused
from outboxkit.amqp.topology import dead_letter_queue, declare_exchange, declare_queue
from outboxkit.errors import Problem
from sandbox import Sandbox, Servers, start
from sandbox.lifetime import private
from sandbox.lifetime.isolation import Isolation
from sandbox.machine import directories, processes
from sandbox.machine.waiting import until
from sandbox.servers import amqp, choice, record
from sandbox.servers.named import Named
from sandbox.servers.redis import Redis
from sandbox.settings import SandboxSettings, read

HOLD = "import sys, sandbox\nwith sandbox.start() as box:\n    print(box.directory, flush=True)\n    sys.stdin.read()\n"
LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}


@cache
def own() -> SandboxSettings:
    """Return the settings of this run for servers of the sandbox's own, also where the run has named ones."""
    settings = read().model_copy(update={"database_url": None, "amqp_url": None})
    return settings.model_copy(update={"choice": choice.choose(settings)[0]})


class Place:
    """A directory for temporary files without other sandboxes, so that everything left in it can be found."""

    def __init__(self, path: Path) -> None:
        self.root = path / f"sandbox-{os.getuid()}"
        self._path = path
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SANDBOX")}
        self.environment = {**inherited, "SANDBOX": own().choice, "TMPDIR": str(path)}

    def in_checkout(self, checkout: Path) -> "Place":
        """Return the same place as it is used from a second checkout, which is made in `checkout`."""
        for name in ("sandbox", "docker", "sql"):
            shutil.copytree(directories.checkout() / name, checkout / name)
        shutil.copy(directories.checkout() / ".dockerignore", checkout)  # or all of the checkout goes to the engine
        other = Place(self._path)
        other.environment["PYTHONPATH"] = str(checkout)
        return other

    def start(self, *command: str | Path) -> subprocess.Popen[str]:
        """Start a process whose sandbox is made here."""
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=self.environment, cwd="/", text=True, stdin=pipe, stdout=pipe, stderr=pipe)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the `sandbox` command to its end."""
        with self.start(Path(sys.executable).parent / "sandbox", *arguments) as process:
            out, err = process.communicate()
            return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def up(self) -> dict[str, str]:
        """Run `sandbox up` and return the settings that it prints, as a shell reads them."""
        done = self.run("up")
        assert done.returncode == 0, done.stderr
        lines = [shlex.split(line) for line in done.stdout.splitlines()]
        assert {line[0] for line in lines} == {"export"}
        return dict(line[1].split("=", 1) for line in lines)

    def directories(self) -> list[Path]:
        """Return the directories of the sandboxes."""
        return [path for path in self.root.iterdir() if path.is_dir()]

    def running(self) -> list[object]:
        """Return the processes or containers of all of them."""
        return [*processes.belonging(self.root), *(_containers(self.root) if own().choice == "docker" else [])]


def _containers(root: Path) -> list[object]:
    from testcontainers.core.docker_client import DockerClient  # noqa: PLC0415 - only where there is an engine

    engine = DockerClient().client
    try:
        found = engine.containers.list(all=True)
        return [one.name for one in found if any(str(root) in value for value in one.labels.values())]
    finally:
        engine.close()


@pytest.fixture
def place() -> Iterator[Place]:
    # Not pytest's tmp_path: the servers' users need access to it.
    path = Path(tempfile.mkdtemp(prefix="sandbox-test-"))
    path.chmod(0o711)
    made = Place(path)
    try:
        yield made
    finally:
        if made.running():
            made.run("down")
        processes.end(path)
        shutil.rmtree(path)


@pytest.fixture(scope="module")
def beside() -> Iterator[Sandbox]:
    """Return a second sandbox, whose servers a test may stop or kill."""
    with start(own()) as box:
        yield box


def one(url: str, statement: LiteralString, *parameters: object) -> object:
    """Return the first column of the first row; None when there is none."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement, parameters)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def answers(box: Sandbox) -> bool:
    place = urlsplit(box.servers.amqp_url)
    assert place.hostname is not None
    assert place.port is not None
    return one(box.servers.database_url, "SELECT 1") == 1 and bool(amqp.version(place.hostname, place.port))


class TestServers:
    def test_postgres_is_durable_and_set_up_for_logical_decoding(self, beside: Sandbox) -> None:
        url = beside.servers.database_url
        settings = {"wal_level": "logical", "fsync": "on", "track_commit_timestamp": "on"}
        assert {name: one(url, "SELECT current_setting(%s)", name) for name in settings} == settings
        assert one(url, "SELECT 1 FROM pg_create_logical_replication_slot('one', 'wal2json', true)") == 1

    def test_both_listen_on_loopback_only(self, beside: Sandbox) -> None:
        ports = {number for name, number in record.read(beside.directory).items() if name.endswith("_port")}
        listening = [place.split(":") for place in _listening()]
        ours = [(address, int(port, 16)) for address, port in listening if int(port, 16) in ports]
        assert {port for _, port in ours} == ports
        assert {address for address, _ in ours} <= LOOPBACK

    def test_no_server_runs_as_root(self, beside: Sandbox) -> None:
        assert all(Path(f"/proc/{one.pid}").stat().st_uid for one in processes.belonging(beside.directory))

    def test_a_password_is_needed(self, beside: Sandbox) -> None:
        place = urlsplit(beside.servers.database_url)
        url = place._replace(netloc=f"{place.username}:wrong@127.0.0.1:{place.port}").geturl()
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(url)

    def test_two_run_at_the_same_time(self, sandbox: Sandbox, beside: Sandbox) -> None:
        assert sandbox.directory != beside.directory
        assert answers(sandbox)
        assert answers(beside)

    def test_postgres_restarts_with_all_committed_data(self, beside: Sandbox) -> None:
        url, postgres = beside.servers.database_url, beside.postgres
        one(url, "CREATE TABLE kept (n int)")
        stops: list[Callable[[], None]] = [postgres.kill, postgres.stop, partial(postgres.stop, "immediate")]
        for number, stop in enumerate(stops, start=1):
            one(url, "INSERT INTO kept VALUES (%s)", number)
            stop()
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(url)
            postgres.start()
            assert one(url, "SELECT count(*) FROM kept") == number

    @pytest.mark.parametrize("way", ["kill", "stop"])
    def test_rabbitmq_restarts_after(self, beside: Sandbox, way: str) -> None:
        port = urlsplit(beside.servers.amqp_url).port
        assert port is not None
        getattr(beside.rabbitmq, way)()
        assert amqp.version("127.0.0.1", port) is None
        beside.rabbitmq.start()
        assert answers(beside)

    def test_starting_a_running_server_changes_nothing(self, beside: Sandbox) -> None:
        before = one(beside.servers.database_url, "SELECT pg_postmaster_start_time()")
        beside.postgres.start()
        beside.rabbitmq.start()
        assert one(beside.servers.database_url, "SELECT pg_postmaster_start_time()") == before

    def test_named_servers_are_used_and_not_touched(self, beside: Sandbox, tmp_path: Path) -> None:
        box = Named(Servers(beside.servers.database_url, beside.servers.amqp_url)).create(tmp_path)
        assert box.servers == beside.servers
        for touch in (box.postgres.stop, box.postgres.kill, box.rabbitmq.kill, box.rabbitmq.start):
            with pytest.raises(Problem, match="named by SANDBOX_DATABASE_URL or SANDBOX_AMQP_URL is never"):
                touch()


class TestRedis:
    @pytest.fixture
    def redis(self) -> Iterator[Redis]:
        with private.redis() as server:
            yield server

    def test_it_starts_empty_each_time(self, redis: Redis) -> None:
        assert redis.version()
        assert redis.command("SET kept 1") == "+OK\r\n"
        redis.start()
        assert redis.command("DBSIZE") == ":1\r\n"
        redis.kill()
        assert (redis.running(), redis.version()) == (False, None)
        redis.start()
        assert redis.command("DBSIZE") == ":0\r\n"
        assert {path.name for path in redis.home.iterdir()} == {"redis.conf", "redis.log"}

    def test_a_password_is_needed_on_loopback_only_and_it_does_not_run_as_root(self, redis: Redis) -> None:
        port = urlsplit(redis.url).port
        assert port is not None
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"PING\r\n")
            assert connection.recv(100).startswith(b"-NOAUTH")
        listening = [
            address for address, number in (place.split(":") for place in _listening()) if int(number, 16) == port
        ]
        assert set(listening) <= LOOPBACK
        assert listening
        assert all(Path(f"/proc/{one.pid}").stat().st_uid for one in processes.belonging(redis.home))


class TestKept:
    def test_up_starts_only_what_does_not_run_and_down_ends_it(self, place: Place) -> None:
        settings = place.up()
        assert set(settings) == {
            *("RELAY_DATABASE_URL", "RELAY_AMQP_URL", "WRITERS_DATABASE_URL"),
            *("CONSUMERS_DATABASE_URL", "CONSUMERS_AMQP_URL"),
        }
        url = settings["RELAY_DATABASE_URL"]
        began = one(url, "SELECT pg_postmaster_start_time()")
        assert place.up() == settings
        assert "already running since" in place.run("up").stderr
        assert one(url, "SELECT pg_postmaster_start_time()") == began

        (directory,) = place.directories()
        choice.recorded(directory).attach(directory).postgres.kill()
        status = place.run("status", "--json")
        assert (status.returncode, json.loads(status.stdout)["postgres"]) == (3, None)
        assert json.loads(place.run("up", "--json").stdout)["settings"] == settings
        assert one(url, "SELECT 1") == 1

        assert place.run("down").returncode == 0
        assert (place.running(), place.directories()) == ([], [])
        assert place.run("down").returncode == 0
        assert place.run("status").returncode == 3

    def test_redis_is_there_only_where_it_was_asked_for_and_ends_with_the_rest(self, place: Place) -> None:
        assert "CONSUMERS_REDIS_URL" not in place.up()
        assert "redis" not in json.loads(place.run("status", "--json").stdout)
        asked = place.run("up", "--redis", "--json")
        answer = json.loads(asked.stdout)
        assert answer["redis"]
        assert f"Redis {answer['redis']}" in asked.stderr

        (directory,) = place.directories()
        home = directory / directories.COMPANIONS / "redis"
        (redis,) = processes.belonging(home)
        assert place.up() == answer["settings"]  # it is kept, also where it is not asked for again
        assert processes.belonging(home) == [redis]
        processes.end(home)
        status = place.run("status", "--json")
        assert (status.returncode, json.loads(status.stdout)["redis"]) == (3, None)
        assert place.up() == answer["settings"]
        assert place.run("status").returncode == 0

        assert place.run("down").returncode == 0
        assert (place.running(), place.directories()) == ([], [])

    def test_a_cluster_is_there_only_where_it_was_asked_for_and_the_settings_name_it(self, place: Place) -> None:
        one_node = place.up()
        assert "cluster" not in json.loads(place.run("status", "--json").stdout)
        asked = place.run("up", "--cluster", "--json")
        assert asked.returncode == 0, asked.stderr
        answer = json.loads(asked.stdout)
        assert f"RabbitMQ cluster {answer['cluster']}" in asked.stderr
        urls = answer["settings"]["RELAY_AMQP_URL"].split(",")
        assert len(urls) == 3
        assert one_node["RELAY_AMQP_URL"] not in urls
        assert answer["settings"]["CONSUMERS_AMQP_URL"] == answer["settings"]["RELAY_AMQP_URL"]
        assert place.up() == answer["settings"]  # it is kept, also where it is not asked for again

        (directory,) = place.directories()
        processes.end(directory / directories.COMPANIONS / "cluster" / "node2")
        status = place.run("status", "--json")
        assert (status.returncode, json.loads(status.stdout)["cluster"]) == (3, None)
        assert place.up() == answer["settings"]
        assert place.run("status").returncode == 0

        assert place.run("down").returncode == 0
        assert (place.running(), place.directories()) == ([], [])

    def test_two_checkouts_keep_a_sandbox_each(self, place: Place, tmp_path: Path) -> None:
        second = place.in_checkout(tmp_path)
        settings, others = place.up(), second.up()
        assert not set(settings.values()) & set(others.values())
        assert len(place.directories()) == 2
        assert place.run("down").returncode == 0
        assert second.run("status").returncode == 0
        assert one(others["RELAY_DATABASE_URL"], "SELECT 1") == 1
        assert second.run("down").returncode == 0
        assert (place.running(), place.directories()) == ([], [])

    @pytest.mark.parametrize("number", [0, 1, 6])
    def test_a_ctrl_c_while_it_starts_leaves_nothing(self, place: Place, number: int) -> None:
        number = min(number, 2) if own().choice == "docker" else number
        with place.start(Path(sys.executable).parent / "sandbox", "up") as process:
            until(
                lambda: place.root.exists() and place.directories() and len(place.running()) >= number,
                what=f"{number} processes run",
                seconds=60,
                every=0.01,
            )
            process.send_signal(signal.SIGINT)
            _, err = process.communicate()
        assert process.returncode != 0
        assert "Traceback" not in err
        assert (place.running(), place.directories()) == ([], [])

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("SANDBOX", "podman", "sandbox: SANDBOX is wrong: Input should be 'auto', 'docker' or 'local'"),
            ("SANDBOX_AMQP_URL", "amqp://localhost", "SANDBOX_DATABASE_URL is missing - named servers need both URLs"),
        ],
    )
    def test_a_wrong_setting_is_one_line(self, place: Place, name: str, value: str, message: str) -> None:
        place.environment[name] = value
        done = place.run("up")
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert message in line


class TestIsolation:
    def test_each_has_a_copy_of_the_schema_and_a_name(self, beside: Sandbox) -> None:
        applied: list[str] = []

        def schema(url: str) -> None:
            applied.append(url)
            one(url, "CREATE TABLE outbox (id int)")

        isolation = Isolation(beside.servers, schema)
        with isolation.isolated() as first, isolation.isolated() as second:
            one(first.database_url, "INSERT INTO outbox VALUES (1)")
            assert one(first.database_url, "SELECT count(*) FROM outbox") == 1
            assert one(second.database_url, "SELECT count(*) FROM outbox") == 0
            assert first.name != second.name
        isolation.close()
        assert len(applied) == 1
        names = [first.name, second.name, urlsplit(applied[0]).path.removeprefix("/")]
        databases = one(beside.servers.database_url, "SELECT array_agg(datname::text) FROM pg_database")
        assert isinstance(databases, list)
        assert not set(names) & set(databases)

    def test_everything_is_removed_also_while_a_stream_is_open(self, beside: Sandbox) -> None:
        with Isolation(beside.servers, None).isolated() as part:
            one(part.database_url, "SELECT 1 FROM pg_create_logical_replication_slot(%s, 'wal2json')", part.name)
            stream = pq.PGconn.connect(f"{part.database_url}?replication=database".encode())
            streaming = stream.exec_(f"START_REPLICATION SLOT {part.name} LOGICAL 0/0".encode())
            assert streaming.status == pq.ExecStatus.COPY_BOTH
            queue, exchange = part.queue("tasks"), part.exchange("outbox")
            asyncio.run(declare(part.amqp_url, queue, exchange))
        stream.finish()
        slots = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s"
        assert one(beside.servers.database_url, slots, part.name) == 0
        for kind, name in (("queue", queue), ("queue", dead_letter_queue(queue)), ("exchange", exchange)):
            with pytest.raises(ChannelRefused, match="answered 404"):
                asyncio.run(exists(part.amqp_url, kind, name))


async def declare(url: str, queue: str, exchange: str) -> None:
    """Declare an exchange and a queue as a relay and a consumer do."""
    connection = await Connection.open(url, name="test")
    channel = await connection.channel()
    await declare_exchange(connection, channel, exchange)
    await declare_queue(connection, channel, queue, exchange=exchange, binding_key="#")
    await connection.close()


async def exists(url: str, kind: str, name: str) -> None:
    """Raise ChannelRefused if the queue or exchange `name` does not exist."""
    connection = await Connection.open(url, name="test")
    channel = await connection.channel()
    try:
        await connection.call(getattr(channel, f"{kind}_declare"), name, passive=True)
    finally:
        await connection.close()


class TestCleanliness:
    def test_the_next_start_removes_what_a_killed_owner_left(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with place.start(sys.executable, "-c", HOLD) as process:
            assert process.stdout is not None
            directory = Path(process.stdout.readline().strip())
            choice.recorded(directory).attach(directory).postgres.kill()
            segment = _shared_memory(directory)
            process.kill()
        assert place.running()
        assert place.directories() == [directory]

        monkeypatch.setattr(tempfile, "tempdir", str(place.root.parent))
        named = own().model_copy(
            update={"choice": "auto", "database_url": "postgresql://nowhere", "amqp_url": "amqp://nowhere"}
        )
        with start(named) as box:
            assert place.running() == []
            assert place.directories() == [box.directory]
            assert segment not in _segments()
        assert place.directories() == []

    def test_sigterm_ends_the_servers_too(self, place: Place) -> None:
        with place.start(sys.executable, "-c", HOLD) as process:
            assert process.stdout is not None
            process.stdout.readline()
            assert place.running()
            process.terminate()
        assert process.returncode == 128 + signal.SIGTERM
        assert (place.running(), place.directories()) == ([], [])

    def test_only_processes_that_carry_the_mark_are_ended(self, tmp_path: Path) -> None:
        ours, other = tmp_path / "ours", tmp_path / "ours-too"
        with (
            subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, env=processes.marked(ours / "part", {})) as marked,
            subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, env=processes.marked(other, {})) as unmarked,
        ):
            processes.end(ours)
            assert marked.wait() == -signal.SIGKILL
            assert [one.pid for one in processes.belonging(other)] == [unmarked.pid]


def _listening() -> list[str]:
    """Return the local addresses of all sockets in state LISTEN, `address:port` in hexadecimal (proc_net_tcp)."""
    tables = [Path(f"/proc/net/{name}").read_text(encoding="ascii").splitlines()[1:] for name in ("tcp", "tcp6")]
    return [fields[1] for table in tables for fields in map(str.split, table) if fields[3] == "0A"]


def _shared_memory(directory: Path) -> str:
    """Return the key of the System V segment of the Postgres in `directory`; "none" for one in a container."""
    file = directory / "postgres" / "cluster" / "postmaster.pid"
    return file.read_text(encoding="ascii").splitlines()[6].split()[0] if file.exists() else "none"


def _segments() -> set[str]:
    return {line.split()[0] for line in Path("/proc/sysvipc/shm").read_text(encoding="ascii").splitlines()[1:]}
