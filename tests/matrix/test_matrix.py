"""What `make matrix` makes of a run's results, and what it refuses."""

import subprocess
import sys

import pytest

from tests.matrix import table
from tests.matrix.results import Count, cases, counted, versions

JUNIT = """<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite name="pytest">
<testcase classname="tests.contract.test_values" name="test_a_value[pgoutput-numeric]" time="0.1"/>
<testcase classname="tests.contract.test_values" name="test_a_value[polling-numeric]" time="0.1">
  <failure message="no"/></testcase>
<testcase classname="tests.acceptance.test_standby" name="test_the_second[polling-polling]" time="2"/>
<testcase classname="tests.acceptance.test_relay_refuses.TestStart" name="test_a_slot" time="2"/>
<testcase classname="tests.acceptance.test_traces" name="test_it" time="0"><skipped message="no"/></testcase>
<testcase classname="tests.acceptance.test_tls" name="test_it" time="2"/>
<testcase classname="tests.acceptance.test_tls" name="test_it" time="0"><error message="in its teardown"/></testcase>
<testcase classname="" name="tests.integration.relay.test_wal" time="0"><error message="collection"/></testcase>
</testsuite></testsuites>
"""
PACKAGES = """\
postgresql-15 15.20-0+deb12u1
postgresql-15-wal2json 2.5-1
postgresql-16 \npython3 3.11.2-1+b1
rabbitmq-server 3.10.8-1.1+deb12u1
"""


def test_tests_that_ran_are_counted_by_suite_and_by_way_of_reading() -> None:
    assert counted(cases(JUNIT)) == {
        "contract": Count(1, 2),
        "integration": Count(0, 1),
        "acceptance": Count(2, 3),
        "wal2json": Count(0, 0),
        "pgoutput": Count(1, 1),
        "polling": Count(1, 2),
    }


def test_those_that_failed_are_named_once_and_a_failure_at_the_end_of_a_test_counts() -> None:
    assert [case.name for case in cases(JUNIT) if not case.passed] == [
        "tests.contract.test_values::test_a_value[polling-numeric]",
        "tests.acceptance.test_tls::test_it",
        "tests.integration.relay.test_wal",
    ]


def test_versions_are_those_of_the_programs_and_not_of_the_packages() -> None:
    expected = {"PostgreSQL": "15.20", "wal2json": "2.5", "RabbitMQ": "3.10.8", "Python": "3.11.2"}
    assert versions(PACKAGES) == expected
    assert versions("postgresql-18 1:18.6-1\n")["PostgreSQL"] == "18.6"
    assert versions("")["RabbitMQ"] == "-"


def test_a_number_alone_means_that_all_have_passed() -> None:
    assert [str(each) for each in (Count(7, 7), Count(6, 7), Count(0, 0))] == ["7", "6 of 7", "-"]


def test_the_table_is_markdown_with_columns_of_one_width() -> None:
    rows = [
        table.row("bookworm", versions(PACKAGES), counted(cases(JUNIT)), seconds=1500),
        table.row("sid", {}, {}, seconds=0),
    ]
    lines = table.lines(rows)
    assert lines[0].startswith("| release  | PostgreSQL | wal2json | RabbitMQ | Python | contract | integration |")
    assert lines[1].startswith("| -------- | ---------- |")
    assert lines[2].split()[1:10:2] == ["bookworm", "15.20", "2.5", "3.10.8", "3.11.2"]
    assert lines[2].endswith("| 25      |")
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (("--release", "buster"), "no such release: buster"),
        (("--base", "debian:sid"), "write {release} into --base"),
        (("--engine", "no-such-engine"), "no-such-engine is not installed - install an engine"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_built(words: tuple[str, ...], refusal: str) -> None:
    done = subprocess.run([sys.executable, "-m", "tests.matrix", *words], capture_output=True, text=True, check=False)
    assert done.returncode in {1, 2}
    assert refusal in " ".join(done.stderr.split())
