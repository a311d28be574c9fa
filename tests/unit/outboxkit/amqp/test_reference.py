"""The task that a message names, or that it names none."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outboxkit.amqp.format import TaskReference, UndecodableMessage, task_reference

HEADERS = {"aggregate_type": "task", "aggregate_id": str(UUID(int=5)), "aggregate_version": 3}


@given(st.uuids(), st.integers(1, 2**63 - 1))
def test_every_task_and_version_is_read_back(task_id: UUID, version: int) -> None:
    headers = {"aggregate_type": "task", "aggregate_id": str(task_id), "aggregate_version": version, "seq": 1}
    assert task_reference(headers) == TaskReference(str(task_id), version)
    assert task_reference({name.replace("_", ""): value for name, value in headers.items()}) == task_reference(headers)
    assert task_reference({**headers, "aggregatetype": "x"}) == task_reference(headers)  # a row's own header


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"aggregate_type": "order"}, "aggregate_type is 'order'"),
        ({"aggregate_type": None}, "aggregate_type is None"),
        ({"aggregate_id": "5"}, "aggregate_id is '5', not a uuid"),
        ({"aggregate_id": None}, "aggregate_id is None"),
        ({"aggregate_version": "3"}, "aggregate_version is '3'"),
        ({"aggregate_version": 0}, "aggregate_version is 0"),
        ({"aggregate_version": True}, "aggregate_version is True"),
        ({"aggregate_version": 2.0}, "aggregate_version is 2.0"),
        ({"aggregate_version": 2**63}, "aggregate_version is 9223372036854775808"),
    ],
)
def test_a_message_that_names_no_task_is_undecodable(changed: dict[str, object], said: str) -> None:
    with pytest.raises(UndecodableMessage, match=said):
        task_reference({**HEADERS, **changed})


def test_a_message_without_headers_is_undecodable() -> None:
    with pytest.raises(UndecodableMessage):
        task_reference(None)


@given(st.dictionaries(st.sampled_from([*HEADERS, "x"]), st.none() | st.text() | st.integers() | st.binary()))
def test_no_headers_raise_any_other_error(headers: dict[str, object]) -> None:
    try:
        assert task_reference(headers).version > 0
    except UndecodableMessage as error:
        assert str(error).startswith("header aggregate_")  # noqa: PT017 - either is right
