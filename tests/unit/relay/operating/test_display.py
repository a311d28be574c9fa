"""Tables are whole on every terminal."""

import pytest
from rich.console import Console
from rich.table import Table

from relay.operating import display


@pytest.fixture
def table() -> Table:
    found = Table("job", "state", "begun (UTC)", "only", "event")
    found.add_row(
        "1", "interrupted", "2026-11-28 00:28:57", "", display.plain("[b]0b2ce1c5-9d7d-4d3b-8a42-1e9a0f2f7c11")
    )
    found.add_row(
        "2", "finished", "2026-11-28 00:30:57", "order", display.plain("4c1d7a9e-1f5e-4b1c-9d55-7f0e6f0f2d22")
    )
    return found


@pytest.mark.parametrize(("width", "lines"), [(240, 6), (80, 4), (40, 6)])
def test_a_terminal_that_is_too_narrow_for_a_table_gets_its_rows_and_nothing_is_cut(
    table: Table, width: int, lines: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(display, "console", lambda: Console(width=width))
    display.print_table(table)
    printed = capsys.readouterr().out
    words = printed.split()
    assert len(printed.splitlines()) == lines
    assert max(map(len, printed.splitlines())) <= width
    assert "…" not in printed
    for cell in ("interrupted", "00:28:57", "[b]0b2ce1c5-9d7d-4d3b-8a42-1e9a0f2f7c11", "order"):
        assert any(word.strip(";") == cell for word in words), printed


def test_a_narrow_row_names_its_values_and_leaves_out_what_is_empty(
    table: Table, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(display, "console", lambda: Console(width=90))
    display.print_table(table)
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.startswith("job 1; state interrupted; begun (UTC) 2026-11-28 00:28:57; event [b]")
