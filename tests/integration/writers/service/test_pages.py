"""The curl lines of README.md and docs/http.md do what stands below them."""

from tests.integration.writers.service.stage import Instance, Stage
from tests.integration.writers.service.transcript import Run, steps
from tests.support.commands import ROOT


def test_every_line_of_the_page_prints_what_stands_below_it(stage: Stage) -> None:
    found = steps(ROOT / "docs" / "http.md")
    assert len(found) > 10
    assert all(step.command.startswith("curl ") and step.printed for step in found)
    run = Run(stage.serve(instance="writers-1").address)
    for step in found:
        run(step)


def test_the_curl_lines_of_the_readme_submit_a_task(stage: Stage, service: Instance) -> None:
    lines = [line.strip() for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()]
    commands = [line for line in lines if line.startswith("curl ")]
    assert commands
    for command in commands:
        assert '"status":' in Run(service.address).printed(command)
    assert stage.rows("SELECT count(*) FROM tasks.task") == [(1,)]
