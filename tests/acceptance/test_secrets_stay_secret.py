"""Passwords never appear: the tests plant them in every way they can be given, and search all output for them.

Each planted password is framed by two words that no encoding changes. So a search finds a piece of it too, and every
form: plain, percent-encoded, in JSON, as Python's repr. The search covers the logs of libraries.
"""

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import LiteralString
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier, Literal

from sandbox import Sandbox
from sandbox.machine import ports
from tests.support.commands import Command
from tests.support.roles import role
from tests.support.stage import Stage
from tests.support.users import User, user

WORDS = ("Kx4Vorn", "Kx4Hint")
DATABASE, BROKER, WRONG = (f"{WORDS[0]}{number} /@:%41?#&=ü€'\"\\{{}}$`{WORDS[1]}" for number in range(3))
EVERYTHING_IS_LOGGED = "import logging\nlogging.basicConfig(level=logging.DEBUG)\n"


def leaks(*texts: str) -> list[str]:
    """Return the lines that contain a planted password, or a piece of one."""
    words = [word.casefold() for word in WORDS]
    return [line for text in texts for line in text.splitlines() if any(word in line.casefold() for word in words)]


class Site:
    """A relay with its own role and user, whose passwords are planted."""

    def __init__(self, stage: Stage, database_url: str, broker: User) -> None:
        self.stage = stage
        self.database_url = database_url
        self.broker = broker
        self.role = str(urlsplit(database_url).username)
        library = stage.directory / "library"
        library.mkdir()
        (library / "sitecustomize.py").write_text(EVERYTHING_IS_LOGGED, encoding="ascii")
        self._settings = {"PYTHONPATH": str(library), "PYTHONASYNCIODEBUG": "1"}
        del stage.settings["RELAY_DATABASE_URL"], stage.settings["RELAY_AMQP_URL"]

    def start(self, *arguments: str, **settings: str) -> Command:
        urls = {"RELAY_DATABASE_URL": self.database_url, "RELAY_AMQP_URL": self.broker.url}
        urls = {name: url for name, url in urls.items() if f"{name}_FILE" not in settings}
        return self.stage.start(*arguments, **{**self._settings, **urls, **settings})

    def run(self, *arguments: str, code: int, **settings: str) -> str:
        """Run a command, which must end with exit code `code`; return all its output."""
        command = self.start(*arguments, **settings)
        assert command.ended(seconds=120) == code, command.stdout + command.tail()
        return command.stdout + command.stderr

    def in_files(self, **settings: str) -> dict[str, str]:
        """Write `settings` to files; return the settings that name the files."""
        for name, text in settings.items():
            (self.stage.directory / name).write_text(f"{text}\n", encoding="utf-8")
        return {f"{name}_FILE": str(self.stage.directory / name) for name in settings}

    def administer(self, statement: LiteralString, *values: str) -> None:
        """Change the relay's role in Postgres."""
        with psycopg.connect(self.stage.isolated.database_url, autocommit=True) as connection:
            connection.execute(SQL(statement).format(Identifier(self.role), *map(Literal, values)))


@pytest.fixture(scope="module")
def site(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Yield a relay that is set up and has all permissions."""
    with sandbox.isolated() as isolated:
        stage = Stage(isolated, tmp_path_factory.mktemp("secrets"))
        stage.set_up()
        with (
            role(isolated.database_url, "LOGIN REPLICATION", DATABASE) as database_url,
            user(sandbox.rabbitmq, sandbox.servers.amqp_url, isolated.name, BROKER) as broker,
        ):
            broker.permit(configure=".*", write=".*", read=".*")
            try:
                yield Site(stage, database_url, broker)
            finally:
                stage.end()


def with_password(url: str, password: str) -> str:
    """Return `url` with `password` put in unchanged."""
    place = urlsplit(url)
    return f"{place.scheme}://{place.username}:{password}@{place.hostname}:{place.port}{place.path}"


def test_the_search_finds_every_form_of_a_password_and_pieces_of_it(site: Site) -> None:
    """An exchange that is named like the password puts it into the output."""
    assert leaks(site.run("relay", "run", code=1, RELAY_EXCHANGE=BROKER))
    forms = (BROKER, quote(BROKER), quote(BROKER, safe=""), json.dumps(BROKER), repr(BROKER), BROKER.split("@")[1])
    assert all(leaks(f"password={form} for user") for form in forms)


@pytest.mark.parametrize("variable", ["RELAY_DATABASE_URL", "RELAY_AMQP_URL"])
class TestAPasswordThatIsRefused:
    def test_in_the_environment(self, site: Site, variable: str) -> None:
        url = {"RELAY_DATABASE_URL": site.database_url, "RELAY_AMQP_URL": site.broker.url}[variable]
        wrong = {variable: with_password(url, quote(WRONG, safe=""))}
        assert not leaks(
            site.run("relay", "run", code=1, **wrong),
            site.run("relay", "setup", code=1, **wrong),
            site.run("relay", "check", "--json", code=3, **wrong),
            site.run("relay", "status", "--json", code=1 if variable == "RELAY_DATABASE_URL" else 3, **wrong),
        )

    def test_in_a_file(self, site: Site, variable: str) -> None:
        url = {"RELAY_DATABASE_URL": site.database_url, "RELAY_AMQP_URL": site.broker.url}[variable]
        wrong = site.in_files(**{variable: with_password(url, quote(WRONG, safe=""))})
        assert not leaks(site.run("relay", "run", code=1, **wrong))

    def test_that_is_not_percent_encoded(self, site: Site, variable: str) -> None:
        url = {"RELAY_DATABASE_URL": site.database_url, "RELAY_AMQP_URL": site.broker.url}[variable]
        for settings in ({variable: with_password(url, WRONG)}, site.in_files(**{variable: with_password(url, WRONG)})):
            assert not leaks(site.run("relay", "run", code=2, **settings))


def test_permissions_that_are_missing(site: Site) -> None:
    site.broker.permit(configure="^$", write="^$", read="^$")
    site.administer("ALTER ROLE {} NOREPLICATION")
    try:
        outputs = [
            site.run("relay", "run", code=1, RELAY_SOURCE="wal"),
            site.run("relay", "setup", code=1),
            site.run("relay", "check", "--json", code=3),
            site.run("relay", "status", "--json", code=3),
        ]
        relay = site.start("relay", "run", RELAY_DATABASE_URL=site.stage.isolated.database_url)
        site.stage.publish_in_one_transaction(1, "refused")
        relay.complains("ACCESS_REFUSED")
        relay.kill()
    finally:
        site.administer("ALTER ROLE {} REPLICATION")
        site.broker.permit(configure=".*", write=".*", read=".*")
    assert not leaks(*outputs, relay.stdout, relay.stderr)


def test_other_ways_of_writing_the_address(site: Site) -> None:
    """A Postgres address may be keywords too, which are quoted differently."""
    keywords = make_conninfo(site.database_url, connect_timeout=10)
    assert WORDS[0] in keywords
    assert not leaks(site.run("relay", "status", "--json", code=3, RELAY_DATABASE_URL=keywords))
    wrong = make_conninfo(keywords, password=WRONG)
    assert not leaks(site.run("relay", "status", "--json", code=1, RELAY_DATABASE_URL=wrong))
    assert not leaks(site.run("relay", "status", "--json", code=2, RELAY_DATABASE_URL=keywords.replace("\\", "")))


def test_a_relay_that_runs_and_then_loses_both_sides_for_good(site: Site, sandbox: Sandbox) -> None:
    (port,) = ports.free(1)
    relay = site.start("relay", "run", RELAY_HTTP_ADDRESS=f"127.0.0.1:{port}")
    relay.streams()
    read = [*answers(port), title(relay), sandbox.rabbitmq.control("list_connections", "user", "client_properties")]
    assert f"{site.broker.name}\t" in read[-1]
    sessions = "SELECT application_name FROM pg_stat_activity WHERE usename = %s"
    read += [name for (name,) in site.stage.query(sessions, site.role)]

    site.broker.change(WRONG)
    site.administer("ALTER ROLE {} PASSWORD {}", WRONG)
    try:
        site.administer("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = {1}", site.role)
        relay.complains("password authentication failed")
        relay.complains("refused the user or password")
        read += [*answers(port), site.run("relay", "status", "--json", code=1)]
    finally:
        site.broker.change(BROKER)
        site.administer("ALTER ROLE {} PASSWORD {}", DATABASE)
    site.stage.confirmed()
    assert relay.terminate() == 0, relay.tail()
    assert "DEBUG:asyncio:" in relay.stderr, "the libraries did not log"
    assert not leaks(*read, relay.stdout, relay.stderr)


def answers(port: int) -> list[str]:
    """Return the relay's HTTP responses with their headers."""
    found = []
    for path in ("/metrics", "/healthz", "/readyz", "/livez", "/"):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", path)
        response = connection.getresponse()
        found.append(f"{response.headers}\n{response.read().decode()}")
        connection.close()
    return found


def title(command: Command) -> str:
    """Return what `ps` shows about a process."""
    place = Path(f"/proc/{command.process.pid}")
    return "\n".join((place / name).read_text(encoding="utf-8") for name in ("cmdline", "comm", "status"))
