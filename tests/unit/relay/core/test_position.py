"""LSNs: read, written and ordered as numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.position import Lsn


@given(st.integers(min_value=0, max_value=2**64 - 1))
def test_an_lsn_survives_its_own_text(value: int) -> None:
    assert Lsn.parse(str(Lsn(value))) == value


def test_lsns_are_ordered_as_numbers_and_not_as_text() -> None:
    assert Lsn.parse("0/9") < Lsn.parse("0/10")
    assert Lsn.parse("9/0") < Lsn.parse("10/0")
    assert Lsn.parse("1/0") > Lsn.parse("0/FFFFFFFF")


@pytest.mark.parametrize("text", ["", "0", "0/", "/0", "0/G", "0/123456789", " 0/1", "0/1\n", "-1/0"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no LSN"):
        Lsn.parse(text)
