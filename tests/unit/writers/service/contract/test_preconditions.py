"""If-Match as RFC 9110 has it: what names a version, what can match none, and what is no ETag."""

import pytest

from writers.service.contract.preconditions import NONE, expected
from writers.service.contract.problems import Answered


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (None, None),
        ("*", None),
        (" * ", None),
        ('"1"', 1),
        ('  "42"', 42),
        ('"999999999999999999"', 999_999_999_999_999_999),
        ('"3", "3"', 3),
        ('"another", "3"', 3),
    ],
)
def test_it_names_one_version_or_any(text: str | None, version: int | None) -> None:
    assert expected(text) == version


@pytest.mark.parametrize("text", ['"0"', '"03"', '"-1"', '"3.0"', '""', '"a"', 'W/"3"', '"9999999999999999999"', '"ä"'])
def test_an_etag_that_no_task_has_matches_none(text: str) -> None:
    assert expected(text) == NONE


@pytest.mark.parametrize("text", ["", "3", '"3', "'3'", '"3" "4"', '"3",', 'w/"3"', '"3 "', "*, *", '"3", *'])
def test_what_is_no_etag_is_refused(text: str) -> None:
    with pytest.raises(Answered, match="with its quotes") as refused:
        expected(text)
    assert (refused.value.status_code, refused.value.slug) == (422, "invalid")


def test_several_versions_are_refused() -> None:
    with pytest.raises(Answered, match="several versions"):
        expected('"3", "4"')
