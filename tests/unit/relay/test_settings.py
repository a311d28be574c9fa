"""The relay's settings: what would be ignored, or taken for something else, is refused by name."""

import os
from pathlib import Path

import pytest

from outboxkit.errors import ConfigurationProblem
from outboxkit.settings import load
from relay.settings import RelaySettings


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("RELAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RELAY_DATABASE_URL", "postgresql://relay@db.example/shop")
    monkeypatch.setenv("RELAY_AMQP_URL", "amqps://relay:right@mq1.example,mq2.example/shop")


def refusal(config: Path | None = None) -> str:
    with pytest.raises(ConfigurationProblem) as caught:
        load(RelaySettings, config)
    return str(caught.value)


def test_two_urls_are_enough() -> None:
    settings = load(RelaySettings)
    assert (settings.name, settings.slot, settings.cloudevents_prefix) == ("relay", "outbox_relay", "cloudEvents_")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("RELAYS_NAME", "x", "RELAYS_NAME is not a setting - did you mean RELAY_NAME?"),
        ("RELY_AMQP_CA_FILE", "/x", "RELY_AMQP_CA_FILE is not a setting - did you mean RELAY_AMQP_CA_FILE?"),
        ("RELAY_AMQP_URL", "amqp://u:p@h/a/b", "RELAY_AMQP_URL is wrong: its path has more than one segment"),
        ("RELAY_CLOUDEVENTS_PREFIX", "ce-", "RELAY_CLOUDEVENTS_PREFIX is set, and RELAY_FORMAT is not cloudevents"),
        ("RELAY_CLOUDEVENTS_PREFIX", "ce_", "RELAY_CLOUDEVENTS_PREFIX is wrong: "),
        ("RELAY_POLL_STRATEGY", "skip_locked", "RELAY_SOURCE is auto - set RELAY_SOURCE=polling"),
        (
            "RELAY_POLL_LOCK",
            "advisory",
            "RELAY_POLL_STRATEGY is not skip_locked - set that too",
        ),
        ("RELAY_POLL_LEADER", "true", "RELAY_POLL_LEADER is set, and RELAY_POLL_STRATEGY is not skip_locked"),
        ("RELAY_SHADOW", "on", "write polling or wal, the source that is read and compared beside the live stream"),
        ("RELAY_RETENTION", "1.5h", "it is not a duration - write for how long published events stay, such as 30min"),
        ("RELAY_RETENTION", "9999999d", "it is longer than 9999d"),
        ("RELAY_POLL_INTERVAL", "1e300", "RELAY_POLL_INTERVAL is wrong: "),
        ("RELAY_RETURN_AFTER", "1e300", "RELAY_RETURN_AFTER is wrong: "),
        ("RELAY_SLOT_BUDGET", "10GB", "write how many bytes of WAL, such as 10737418240"),
        ("RELAY_SLOT_BUDGET", "9" * 30, "RELAY_SLOT_BUDGET is wrong: "),
        ("RELAY_REPLAY_WINDOW", "1000", "write how many bytes of WAL, such as 1073741824"),
        ("RELAY_PARTITION", "4", "it is not a partition - write I/N, such as 1/4"),
        ("RELAY_PARTITION", "5/4", "there is no partition 5 of 4 - write I/N"),
        ("RELAY_PARTITION", "1000/4", "there is no partition 1000 of 4 - write I/N"),
        ("RELAY_PARTITION", "0/4", "partitions are numbered from 1 - write I/N"),
        ("RELAY_PARTITION", "1/257", "there are at most 256 partitions - write I/N"),
        ("RELAY_PARTITION", "1/" + "9" * 5000, "there are at most 256 partitions - write I/N"),
        ("RELAY_TOPOLOGY", "hash:x", "it is not a topology - write hash:N or stream:N, such as hash:8"),
        ("RELAY_TOPOLOGY", "hash", "it does not say how many queues the topology has - write hash:N"),
        ("RELAY_TOPOLOGY", "hash:0", "a topology has 2 to 256 queues - write hash:N"),
        ("RELAY_TOPOLOGY", "hash:257", "a topology has 2 to 256 queues - write hash:N or stream:N"),
        ("RELAY_TOPOLOGY_KEYS", "order.*,", "a routing key is empty - write the routing keys"),
        ("RELAY_TOPOLOGY_KEYS", "x," + "é" * 128, "a routing key is longer than 255 bytes - write the routing keys"),
        ("RELAY_OUTBOX_COLUMNS", '{"payload": null}', "RELAY_OUTBOX_COLUMNS is wrong: for 'payload': "),
        ("RELAY_OUTBOX_COLUMNS", '{"payload": "a", "payload": "b"}', "its key 'payload' is given twice"),
    ],
)
def test_what_would_be_ignored_is_named(name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert said in refusal()


def test_a_certificate_for_a_connection_without_tls_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_AMQP_URL", "amqp://localhost")
    monkeypatch.setenv("RELAY_AMQP_CA", "a certificate")
    assert "RELAY_AMQP_CA is set, and RELAY_AMQP_URL does not use TLS" in refusal()


@pytest.mark.parametrize("name", ["release_slot_after", "max_in_flight", "ready_lag"])
def test_true_is_no_number(name: str, tmp_path: Path) -> None:
    config = tmp_path / "relay.toml"
    config.write_text(f"{name} = true\n")
    assert f"sets {name!r} to true, which is no number - write " in refusal(config)


def test_cloudevents_have_the_prefix_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_FORMAT", "cloudevents")
    monkeypatch.setenv("RELAY_CLOUDEVENTS_PREFIX", "ce-")
    assert load(RelaySettings).cloudevents_prefix == "ce-"


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"RELAY_SOURCE": "wal"}, "RELAY_SHADOW and RELAY_SOURCE are both wal"),
        ({"RELAY_SOURCE": "polling", "RELAY_POLL_STRATEGY": "skip_locked"}, "which keeps no order"),
        ({"RELAY_MESSAGE_PREFIX": "shop"}, "RELAY_MESSAGE_PREFIX has no table"),
    ],
)
def test_a_shadow_without_anything_to_compare_is_refused(
    others: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"RELAY_SHADOW": "wal", **others}.items():
        monkeypatch.setenv(name, value)
    assert said in refusal()


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"RELAY_SOURCE": "wal"}, "RELAY_PARTITION is set, and RELAY_SOURCE is wal: "),
        (
            {"RELAY_SOURCE": "polling", "RELAY_POLL_STRATEGY": "skip_locked"},
            "RELAY_PARTITION is set, and RELAY_POLL_STRATEGY is skip_locked, whose pollers share the table anyhow",
        ),
        ({"RELAY_MESSAGE_PREFIX": "shop"}, "RELAY_PARTITION is set, and RELAY_MESSAGE_PREFIX has no table"),
        (
            {"RELAY_OUTBOX_COLUMNS": '{"aggregate_id": "event_type"}'},
            "RELAY_OUTBOX_COLUMNS names other columns of outbox.event for the aggregate",
        ),
    ],
)
def test_a_partition_begins_by_polling(others: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in others.items():
        monkeypatch.setenv(name, value)
    load(RelaySettings)
    monkeypatch.setenv("RELAY_PARTITION", "1/1")
    load(RelaySettings)
    monkeypatch.setenv("RELAY_PARTITION", "2/4")
    assert said in refusal()


def test_a_window_for_replays_has_a_slot_whose_name_postgres_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_REPLAY_WINDOW", "1073741824")
    monkeypatch.setenv("RELAY_SLOT", "s" * 56)
    assert load(RelaySettings).replay_window == 1 << 30
    monkeypatch.setenv("RELAY_SLOT", "s" * 57)
    assert "which is longer than the 63 characters that Postgres allows - set RELAY_SLOT" in refusal()
    monkeypatch.setenv("RELAY_SLOT", "s")
    monkeypatch.setenv("RELAY_SOURCE", "polling")
    assert "no slot keeps WAL - replays read the table, so unset RELAY_REPLAY_WINDOW" in refusal()
    monkeypatch.setenv("RELAY_REPLAY_WINDOW", "off")
    assert load(RelaySettings).replay_window is None
