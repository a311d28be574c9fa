"""Taking schema files apart."""

from typing import LiteralString

import pytest

from outboxkit import sql
from outboxkit.sql.restoring import again
from outboxkit.sql.statements import created, statements

FIRST: LiteralString = """\
-- The first; with a semicolon; and a.word in a comment.
CREATE SCHEMA a;
CREATE TABLE a.t (x text DEFAULT ';', "y;z" integer); -- behind it
CREATE FUNCTION a.f() RETURNS integer LANGUAGE sql
BEGIN ATOMIC
    SELECT CASE WHEN true THEN 1 END;
    SELECT 2;
END;
"""
SECOND: LiteralString = """\
CREATE SCHEMA b;
CREATE FUNCTION b.g() RETURNS integer LANGUAGE sql RETURN a.f();
CREATE FUNCTION b.h() RETURNS integer LANGUAGE sql RETURN b.g();
DO $body$ BEGIN PERFORM 1; EXECUTE $$SELECT 2;$$; END $body$;
INSERT INTO b.s VALUES (1);
UPDATE a.t SET x = 'b.s';
"""
THIRD: LiteralString = "CREATE SCHEMA c; CREATE TABLE c.t ();"


def file(name: str, text: LiteralString) -> sql.SchemaFile:
    return sql.SchemaFile(name, text, name)


FILES = [file("1", FIRST), file("2", SECOND), file("3", THIRD)]
RECORDED = {each.name: each.checksum for each in FILES}


def test_a_file_is_split_at_the_semicolons_that_end_statements() -> None:
    assert [(each.verb, each.schemas) for each in statements(FILES)] == [
        ("CREATE", ("a",)),
        ("CREATE", ("a",)),
        ("CREATE", ("a",)),
        ("CREATE", ("b",)),
        ("CREATE", ("b", "a")),
        ("CREATE", ("b",)),
        ("DO", ()),
        ("INSERT", ("b",)),
        ("UPDATE", ("a", "b")),
        ("CREATE", ("c",)),
        ("CREATE", ("c",)),
    ]
    assert created(FILES) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("dropped", "expected"),
    [
        (["c"], ["CREATE SCHEMA c", "CREATE TABLE c.t ()"]),
        (["a", "b", "c"], [each.text for each in statements(FILES) if each.schemas]),
        ([], []),
    ],
)
def test_a_dropped_schema_runs_all_its_statements_again(
    dropped: list[str], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "schema", lambda: FILES)
    assert [each.text for each in again(RECORDED, dropped)] == expected


def test_a_schema_that_depends_on_a_dropped_one_only_creates_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "schema", lambda: FILES)
    kept = [each.text.split("(")[0] for each in again(RECORDED, ["a"]) if each.schemas[0] == "b"]
    assert kept == ["CREATE SCHEMA b", "CREATE FUNCTION b.g", "CREATE FUNCTION b.h"]


def test_every_statement_of_ours_is_about_one_of_our_schemas() -> None:
    every = statements(sql.schema())
    assert len(every) > 30
    assert [each.text for each in every if not each.schemas] == []
