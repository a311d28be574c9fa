"""`consumers states` and docs/states.md against the tables and the triggers of a database."""

import json
import re

import psycopg

from sandbox import Isolated
from tests.integration.consumers.stage import Stage
from tests.support.commands import ROOT

PAGE = (ROOT / "docs" / "states.md").read_text(encoding="utf-8")
LAW = (ROOT / "sql" / "schema" / "012_states.sql").read_text(encoding="utf-8")
PROMPT = "shop=# "


def printed(stage: Stage, *arguments: str) -> str:
    command = stage.command("states", *arguments)
    assert command.ended() == 0, command.tail()
    return command.stdout


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_shows_the_machine_that_a_database_has(stage: Stage) -> None:
    assert printed(stage) in blocks("text")
    assert [printed(stage, "--format", "mermaid")] == blocks("mermaid")


def test_what_is_printed_is_the_databases_own_table(stage: Stage) -> None:
    stage.rows("INSERT INTO tasks.transition VALUES ('failed', 'cancelled', 'given up') RETURNING 1")
    rows = stage.rows("SELECT from_status, to_status, meaning FROM tasks.transition")
    edges = [(edge["from_status"], edge["to_status"], edge["meaning"]) for edge in json.loads(printed(stage, "--json"))]
    assert sorted(edges) == sorted(rows)
    assert ("failed", "cancelled", "given up") in edges
    assert '    "failed" -> "cancelled" [label="given up"];' in printed(stage, "--format", "dot").splitlines()


def test_the_database_refuses_what_the_page_says_in_these_words(isolated: Isolated) -> None:
    """The transcript, run again: statements, errors, hints and SQLSTATEs."""
    (transcript,) = (block for block in blocks("text") if block.startswith(PROMPT))
    said, code, refused = "", "", []
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        for each in transcript.split(PROMPT)[1:]:
            line, _, shown = each.partition("\n")
            if line.startswith("\\echo"):
                assert shown == f"{code}\n"
                refused.append(code)
            elif not line.startswith("\\"):
                said, code = _run(connection, line)
                assert not said or shown == said, line
                assert bool(said) == shown.startswith("ERROR")
    assert refused == ["TK001", "TK002", "TK003", "TK004", "TK005"]


def _run(connection: psycopg.Connection[tuple[object, ...]], line: str) -> tuple[str, str]:
    try:
        connection.execute(line.encode())
    except psycopg.Error as error:
        return f"ERROR:  {error.diag.message_primary}\nHINT:  {error.diag.message_hint}\n", str(error.sqlstate)
    return "", "00000"


def test_each_sqlstate_is_explained(stage: Stage) -> None:
    raised = {
        code for (code,) in stage.rows("SELECT DISTINCT (regexp_matches(prosrc, 'TK\\d{3}', 'g'))[1] FROM pg_proc")
    }
    assert re.findall(r"^\| (TK\d{3}) \|", PAGE, re.MULTILINE) == sorted(raised)
    assert set(re.findall(r"TK\d{3}", LAW.partition("DO $$")[0])) == raised - {"TK010"}, (
        "that is of a handler, not of a task"
    )
