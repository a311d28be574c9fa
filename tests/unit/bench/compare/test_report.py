"""The report of a comparison: its page, its Markdown, its tables on the terminal."""

import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from bench.compare.reporting import terminal
from bench.compare.reporting.writing import compared, write
from bench.compare.results import Phase, Results, Run, Stopped, read
from tests.unit.bench.compare.plausible import (
    DRAIN,
    IDLE,
    LAST_ID,
    NONE,
    ONE_CONFIRM,
    OUTAGE,
    PGOUTPUT,
    POLL_1S,
    RATES,
    STEADY,
    WAL2JSON,
    Draw,
)

FEW = ("polling, 100 ms", "polling, 10 s", "polling, notify", "skip_locked, 4 pollers")
SMALL = Draw(events=100, repetitions=2, phases=(STEADY, DRAIN, RATES, IDLE, OUTAGE)).without(*FEW)
ONLY = Draw(events=100, repetitions=2, phases=(STEADY,)).without(
    *(nature.arm.name for nature in Draw().natures if nature.arm.name != POLL_1S)
)


class Parsed(HTMLParser):
    """What a page refers to, and its ids."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in {"src", "href", "xlink:href", "action", "data", "srcset", "poster"}:
                self.references.append(value or "")
            if name == "id":
                self.ids.append(value or "")
        if tag not in {"meta", "link", "img", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if self.open and self.open[-1] == tag:
            self.open.pop()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("report")
    assert write(SMALL.results(), place) == place / "index.html"
    return place


def shown(found: Results, earlier: Results | None = None) -> str:
    console = Console(file=io.StringIO(), width=150)
    terminal.show(found, console, compared(found, earlier))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_page_refers_to_nothing_outside(place: Path) -> None:
    text = (place / "index.html").read_text(encoding="utf-8")
    parsed = Parsed(text)
    assert parsed.references
    assert all(reference.startswith("#") for reference in parsed.references)
    assert not re.search(r"url\((?!#)|@import|://|<script|<link", text)


def test_every_reference_in_the_page_has_its_one_target(place: Path) -> None:
    text = (place / "index.html").read_text(encoding="utf-8")
    parsed = Parsed(text)
    clips = re.findall(r"url\(#(.*?)\)", text)
    assert clips
    assert set(clips) <= set(parsed.ids)
    assert parsed.open == []
    assert len(parsed.ids) == len(set(parsed.ids))
    assert {reference[1:] for reference in parsed.references} <= set(parsed.ids)


def test_every_plot_is_in_the_page_and_beside_it(place: Path) -> None:
    text = (place / "index.html").read_text(encoding="utf-8")
    markdown = (place / "report.md").read_text(encoding="utf-8")
    names = {path.stem for path in (place / "plots").glob("*.svg")}
    assert names == {path.stem for path in (place / "plots").glob("*.png")}
    assert names == set(re.findall(r"\]\(plots/(.*?)\.png\)", markdown))
    assert text.count("<svg ") == len(names)
    assert {name.split("-")[0] for name in names} == {
        "correctness", "latency", "throughput", "speed", "writers", "database", "relay", "lag", "retained", "table",
        "incident",
    }  # fmt: skip


def test_the_results_are_beside_the_page(place: Path) -> None:
    assert read(place / "results.json") == SMALL.results()


def test_the_page_and_the_markdown_have_every_section(place: Path) -> None:
    wanted = [
        "Summary", "Correctness", "Latency", "Throughput", "What the writers pay", "What the database pays",
        "What the relay pays", "Outage and large transaction", "When to poll", "All figures", "Method and surroundings",
    ]  # fmt: skip
    markdown = (place / "report.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", markdown, re.MULTILINE) == wanted
    assert re.findall(r"<h2[^>]*>(.*?)</h2>", (place / "index.html").read_text(encoding="utf-8")) == wanted


def test_the_report_says_how_often_each_part_was_measured(place: Path) -> None:
    markdown = (place / "report.md").read_text(encoding="utf-8")
    _, _, after = markdown.partition("### How often each part was measured\n\n")
    heading, _, *rows = after.splitlines()
    arms = [cell.strip() for cell in heading.split("|")[2:-1]]
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows if row]
    often = {phase: dict(zip(arms, counts, strict=True)) for phase, *counts in cells}
    assert often[STEADY] == dict.fromkeys(arms, "2")
    assert often[OUTAGE] == dict.fromkeys(arms, "2") | {NONE: ""}


@pytest.mark.parametrize("name", ["index.html", "report.md"])
def test_the_report_names_seed_machine_and_versions(place: Path, name: str) -> None:
    text = (place / name).read_text(encoding="utf-8").replace("\\_", "_")
    assert all(each in text for each in ("seed 1", "Testium 3000", "15.18", "RELAY_MAX_IN_FLIGHT", "2026-11-27T23:00"))


def test_what_stands_in_results_cannot_become_a_part_of_the_page(tmp_path: Path) -> None:
    found = ONLY.results()
    evil = msgspec.structs.replace(found.surroundings, machine={"processor": '<script>alert("|")</script>'})
    write(msgspec.structs.replace(found, surroundings=evil), tmp_path)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;alert(&quot;|&quot;)" in page
    assert r"\<script>alert(" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_a_run_with_missing_arms_is_still_reported(tmp_path: Path) -> None:
    draw = replace(SMALL, phases=(STEADY, DRAIN), unmeasured={WAL2JSON, NONE})
    write(draw.results(), tmp_path)
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert f"* {WAL2JSON}: it is not installed" in markdown
    assert f"Not measured: {WAL2JSON}: it is not installed" in shown(draw.results())


@pytest.mark.parametrize(
    ("stopped", "said"),
    [
        (Stopped("time limit", 60, 66, 5400, "go on"),
         "The time limit of 90 minutes was reached; 60 of 66 runs were made. To go on: go on"),
        (Stopped("interrupted", 1, 66, 5400, "go on"),
         "The comparison was interrupted; 1 of 66 runs were made. To go on: go on"),
        (Stopped("earlier", 60, 66, 5400, "go on"),
         "The comparison of the arms had ended before; 60 of 66 runs were made. To go on: go on"),
        (None, "Not all runs were made."),
    ],
)  # fmt: skip
def test_why_runs_are_missing_is_said_in_report_terminal_and_results(
    tmp_path: Path, stopped: Stopped | None, said: str
) -> None:
    found = msgspec.structs.replace(ONLY.results(), complete=False, stopped=stopped)
    write(found, tmp_path)
    assert said in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert said in (tmp_path / "index.html").read_text(encoding="utf-8")
    assert said in shown(found)
    assert read(tmp_path / "results.json").stopped == stopped
    assert ("interrupted" in shown(found)) == (stopped is not None and stopped.reason == "interrupted")


def test_a_figure_that_cannot_be_measured_has_its_reason(tmp_path: Path) -> None:
    drawn = ONLY.results()
    phase = Phase("a part", "drain", unknown={"database_cpu": "Postgres is elsewhere"})
    found = msgspec.structs.replace(drawn, runs=(*drawn.runs, Run(POLL_1S, 7, (phase,))))
    write(found, tmp_path)
    assert "* CPU of Postgres per event: Postgres is elsewhere" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "Not measured: CPU of Postgres per event: Postgres is elsewhere" in shown(found)


def test_one_arm_alone_is_still_reported(tmp_path: Path) -> None:
    write(ONLY.results(), tmp_path)
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "One arm, so nothing is compared" in markdown
    assert POLL_1S in shown(ONLY.results())


def test_no_run_at_all_is_still_reported(tmp_path: Path) -> None:
    stopped = Stopped("interrupted", 0, 33, 600, "bench compare --out x")
    found = msgspec.structs.replace(SMALL.results(), runs=(), complete=False, stopped=stopped)
    write(found, tmp_path)
    assert "0 of 33 runs" in (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "0 of 33 runs" in shown(found)


def test_an_earlier_comparison_has_its_section(tmp_path: Path) -> None:
    write(ONLY.results(), tmp_path, earlier=SMALL.results())
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "## Against the earlier comparison" in markdown
    assert re.search(r"\d+ figures compared", markdown)


def test_the_terminal_shows_which_arm_loses_events_and_which_is_slow() -> None:
    text = shown(SMALL.results(), SMALL.results())
    rows = {row[0]: row for line in text.splitlines() if len(row := [c.strip() for c in line.split("│")[1:-1]]) == 10}
    assert rows[LAST_ID][-1] == "loses events"
    assert rows[LAST_ID][-4] == "18"
    assert rows[PGOUTPUT][-1] == "no fault seen"
    assert float(rows[ONE_CONFIRM][4].rstrip("/s")) < 1000
    assert f"{LAST_ID} missed 18 of" in text
    assert "a difference seen in 0" in text
