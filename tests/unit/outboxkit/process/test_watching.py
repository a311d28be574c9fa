"""What `--watch` does without a terminal; on a terminal it draws in place."""

import pytest

from outboxkit.process import watching


@pytest.mark.parametrize("drawn", [None, str], ids=["json", "a table"])
def test_each_look_gets_what_the_last_one_found_and_ctrl_c_ends_it(
    drawn: type[str] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    def look(before: int | None) -> int:
        if before == 3:
            raise KeyboardInterrupt
        return 1 if before is None else before + 1

    watching.repeat(look, every=0, show=print, drawn=drawn)
    assert capsys.readouterr().out.split() == ["1", "2", "3"]


def test_it_ends_when_nobody_reads_what_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []
    monkeypatch.setattr(watching, "unread", lambda: len(shown) == 2)
    watching.repeat(lambda before: (before or 0) + 1, every=0, show=shown.append, drawn=None)
    assert shown == [1, 2]
