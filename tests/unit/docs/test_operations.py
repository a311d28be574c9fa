"""docs/operations.md against sql/roles.sql: uninstalling leaves no role behind."""

import re

import pytest

from tests.unit.docs.markdown import ROOT, section

GUIDE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
ROLES = (ROOT / "sql" / "roles.sql").read_text(encoding="utf-8")


@pytest.mark.parametrize("statement", ["DROP OWNED BY", "DROP ROLE"])
def test_uninstalling_drops_every_role_that_the_file_creates(statement: str) -> None:
    found = re.search(rf"{statement} ([^;]+);", section(GUIDE, "## Uninstalling"))
    assert found is not None
    created = re.findall(r"^ +\('(outbox_\w+)', ", ROLES, re.MULTILINE)
    assert created
    assert sorted(re.split(r",\s*", found[1])) == sorted(created)
