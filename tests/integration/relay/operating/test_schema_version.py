"""`relay run` and `consumers run` start only on the schema of their own version."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from outboxkit import sql
from outboxkit.sql.apply import SchemaChanged, SchemaOlder, apply, require_current
from sandbox import Isolated
from tests.integration.relay.stage import staged
from tests.support.stage import Stage

CURRENT = {file.name: file.checksum for file in sql.schema()}
LAST = max(CURRENT)


@pytest.fixture
def stage(isolated: Isolated, tmp_path: Path) -> Iterator[Stage]:
    """Yield a stage without a slot."""
    with staged(isolated, tmp_path) as stage:
        yield stage


def test_only_the_same_files_are_the_same_version() -> None:
    require_current(CURRENT)
    with pytest.raises(SchemaOlder, match=rf"lacks {LAST} - run `relay setup` of this version"):
        require_current({name: checksum for name, checksum in CURRENT.items() if name != LAST})
    with pytest.raises(SchemaChanged, match="newer version"):
        require_current({**CURRENT, "998_newer.sql": "x"})
    with pytest.raises(SchemaChanged, match="is not the file"):
        require_current({**CURRENT, LAST: "x"})


def test_an_older_schema_is_refused_until_setup_has_run(
    stage: Stage, isolated: Isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sql.schema()
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA outbox, tasks, relay, inbox, outbox_setup CASCADE")
        monkeypatch.setattr(sql, "schema", lambda: files[:-1])
        apply(connection)
        monkeypatch.undo()
    remedies = {
        "relay": "run `relay setup` of this version",
        "consumers": "run `consumers setup` of this version on it, or `relay setup` if it is the outbox's",
    }
    for program, remedy in remedies.items():
        command = stage.run(program, "run")
        assert command.process.returncode == 1
        (line,) = command.stderr.splitlines()
        assert "the schema is older than this" in line
        assert line.endswith(remedy)
    assert stage.run("relay", "setup").process.returncode == 0
    stage.start("relay", "run").streams()
    stage.consumer()


def test_a_newer_schema_is_refused(stage: Stage, isolated: Isolated) -> None:
    stage.set_up()
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO outbox_setup.applied VALUES ('998_newer.sql', 'x')")
    for command in (stage.run("relay", "run"), stage.run("consumers", "run"), stage.run("relay", "setup")):
        assert command.process.returncode == 1
        (line,) = command.stderr.splitlines()
        assert "set up by a newer version (it has 998_newer.sql) - install a version at least as new" in line


def test_a_database_that_an_older_version_set_up_is_refused_until_setup_has_moved_its_record(
    stage: Stage, isolated: Isolated
) -> None:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE outbox_setup.applied RENAME TO outbox_relay_schema")
        connection.execute("ALTER TABLE outbox_setup.outbox_relay_schema SET SCHEMA public")
        connection.execute("DROP SCHEMA outbox_setup")
    for command in (stage.run("relay", "run"), stage.run("consumers", "run")):
        assert command.process.returncode == 1
        assert "`relay setup`" in command.stderr
    setup = stage.run("relay", "setup")
    assert setup.process.returncode == 0
    assert "up to date" in setup.stdout
    stage.start("relay", "run").streams()
