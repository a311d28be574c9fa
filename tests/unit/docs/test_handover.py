"""docs/handover.md against the code: the reasons and details of each change of the source, in both directions."""

import re
from collections.abc import Iterator

from relay.core.errors import WalRefused
from tests.unit.docs.markdown import ROOT, quoted, rows, section

PAGE = (ROOT / "docs" / "handover.md").read_text(encoding="utf-8")
ROOM = ROOT / "relay" / "sources" / "handover"
CODE = "".join(path.read_text(encoding="utf-8") for path in sorted(ROOM.glob("*.py")))


def _listed(heading: str) -> set[str]:
    return {name for first, *_ in rows(section(PAGE, heading)) for name in quoted(first)}


def _refusals(kind: type[WalRefused]) -> Iterator[str]:
    for below in kind.__subclasses__():
        yield below.reason
        yield from _refusals(below)


def test_every_reason_to_leave_the_wal_is_listed() -> None:
    others = {"not permitted", "budget", "asked for"}
    assert _listed("## When the relay polls") == {*_refusals(WalRefused), *others}
    assert not [each for each in others if f'"{each}"' not in CODE]


def test_every_reason_and_detail_of_the_way_back_is_listed() -> None:
    details = set(re.findall(r'"(over [^"]+)"', CODE))
    reasons = set(re.findall(r'"([^"]+)"', "".join(re.findall(r"^ +reason = (.*)$", CODE, re.MULTILINE)))) - {"wal"}
    assert details
    assert reasons
    assert _listed("## How it goes back") == details | reasons
