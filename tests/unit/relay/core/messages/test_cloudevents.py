"""Messages as CloudEvents: whatever the event is, its attributes are valid, and its own headers hide none of them."""

import re
from datetime import datetime, timedelta, timezone
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from relay.core.messages.cloudevents import Prefix
from relay.core.messages.routing import Router
from tests.support.examples import EVENT

SOURCE = "/outbox/relay"
PREFIXES: tuple[Prefix, ...] = get_args(Prefix)
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
# https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md#type-system
FORBIDDEN = {*range(0x20), *range(0x7F, 0xA0), *range(0xD800, 0xE000), *range(0xFDD0, 0xFDF0)}
ATTRIBUTES = ("id", "type", "subject", "time", "specversion", "source", "datacontenttype")
OTHERS = ("ID", "content-type", "traceparent", "tenant", "aggregatetype", "seq")
OFFSETS = st.integers(-86_399, 86_399).map(lambda seconds: timezone(timedelta(seconds=seconds)))


def is_string(value: object) -> bool:
    """Return whether `value` is a non-empty string as CloudEvents has it."""
    return (
        isinstance(value, str)
        and value != ""
        and not any(ord(each) in FORBIDDEN or ord(each) & 0xFFFE == 0xFFFE for each in value)
    )


def headers(prefix: Prefix, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of an event
    router = Router("outbox", "{event_type}", cloudevents_source=SOURCE, cloudevents_prefix=prefix)
    return router.route(structs.replace(EVENT, **changes)).all_headers()


@given(
    prefix=st.sampled_from(PREFIXES),
    event_id=st.text(min_size=1),
    texts=st.tuples(st.text(), st.text(), st.text()),
    at=st.datetimes(timezones=OFFSETS),
    own=st.dictionaries(
        st.sampled_from([prefix + name for prefix in ("", *PREFIXES) for name in (*ATTRIBUTES, *OTHERS)]),
        st.text() | st.none() | st.integers(),
    ),
)
def test_the_attributes_of_any_event_are_valid(
    prefix: Prefix, event_id: str, texts: tuple[str, str, str], at: datetime, own: dict[str, object]
) -> None:
    kind, aggregate_id, event_type = texts
    changes = {"aggregate_type": kind, "aggregate_id": aggregate_id, "event_type": event_type, "created_at": at}
    found = headers(prefix, id=event_id, headers=own, **changes)
    assert found[f"{prefix}specversion"] == "1.0"
    assert found[f"{prefix}source"] == SOURCE
    for name in ("id", "type"):
        assert is_string(found[prefix + name])
    if aggregate_id:
        assert is_string(found[f"{prefix}subject"])
    assert (f"{prefix}subject" in found) == bool(aggregate_id)
    if (time := found.get(f"{prefix}time")) is not None:
        assert RFC_3339.fullmatch(time)
        assert datetime.fromisoformat(time) == at
    assert found.get("tenant") == own.get("tenant")
    if prefix == "ce-":
        _is_what_knative_reads(found)


def _is_what_knative_reads(found: dict[str, Any]) -> None:
    """Knative's consumer lowers each name, takes off `ce-`, and has an attribute for it, or an extension.

    https://github.com/knative-extensions/eventing-rabbitmq/blob/main/pkg/rabbit/message.go
    """
    read = [name.lower().removeprefix("ce-") for name in found if name not in {"traceparent", "tracestate"}]
    ours = {name for name in read if name in ATTRIBUTES or name.startswith("aggregate") or name == "seq"}
    assert not [name for name in ours if read.count(name) > 1]
    assert all(name.isalnum() for name in ours)
    assert "content-type" not in read
    assert found["ce-datacontenttype"] == "application/json"


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_usual_event_keeps_its_texts_as_they_are(prefix: Prefix) -> None:
    found = headers(prefix)
    assert (found[f"{prefix}id"], found[f"{prefix}type"]) == (EVENT.id, "order.placed")
    assert (found[f"{prefix}subject"], found[f"{prefix}time"]) == ("42", "2026-11-20T20:00:00.900000+00:00")
    names = {"aggregate_type", "aggregate_id", "aggregate_version"}
    assert {name.replace("_", "") for name in names} <= {name.replace("_", "") for name in found}
    assert names.isdisjoint(found) == (prefix == "ce-")
    assert found["traceparent"] == "00-ab"


def test_a_character_that_an_attribute_may_not_have_is_percent_encoded() -> None:
    assert headers("ce-", aggregate_id="a\nb\u0085")["ce-subject"] == "a%0Ab%C2%85"


def test_a_time_that_has_no_form_is_left_out() -> None:
    at = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5)))
    assert "cloudEvents_time" not in headers("cloudEvents_", created_at=at)
