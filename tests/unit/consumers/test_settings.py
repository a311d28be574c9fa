"""The consumers' settings: defaults, and what is refused."""

import os
import re
from datetime import timedelta
from pathlib import Path

import pytest

from consumers.settings import ConsumerSettings
from outboxkit.errors import ConfigurationProblem
from outboxkit.settings import load

NEEDED = {"CONSUMERS_DATABASE_URL": "postgresql://u:planted@h/d", "CONSUMERS_AMQP_URL": "amqp://u:planted@localhost/v"}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CONSUMERS_")]:
        monkeypatch.delenv(name)
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)


def test_two_urls_are_enough() -> None:
    settings = load(ConsumerSettings)
    assert (settings.exchange, settings.queue, settings.lease) == ("outbox", "tasks", 30.0)
    assert settings.prefetch >= settings.concurrency
    assert settings.handlers is None
    assert "planted" not in repr(settings)


def test_messages_go_unencrypted_only_to_this_machine_unless_it_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUMERS_AMQP_URL", "amqp://u:planted@mq.example/v")
    with pytest.raises(ConfigurationProblem, match="allow it with CONSUMERS_AMQP_PLAINTEXT=true") as caught:
        load(ConsumerSettings)
    assert "planted" not in str(caught.value)
    monkeypatch.setenv("CONSUMERS_AMQP_PLAINTEXT", "true")
    assert load(ConsumerSettings).amqp_plaintext


@pytest.mark.parametrize("name", NEEDED)
def test_each_url_is_needed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(name)
    with pytest.raises(ConfigurationProblem, match=f"{name} is not set"):
        load(ConsumerSettings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CONSUMERS_DATABASE_URL", "planted=="),
        ("CONSUMERS_DATABASE_URL", ""),
        ("CONSUMERS_AMQP_URL", ""),
        ("CONSUMERS_AMQP_CA", ""),
        ("CONSUMERS_AMQP_URL", "http://planted"),
        ("CONSUMERS_CONCURRENCY", "0"),
        ("CONSUMERS_PREFETCH", "0"),
        ("CONSUMERS_PREFETCH", "65536"),
        ("CONSUMERS_PREFETCH", "7"),
        ("CONSUMERS_LEASE", "0.5"),
        ("CONSUMERS_LEASE", "25h"),
        ("CONSUMERS_SCHEDULER", "on"),
        ("CONSUMERS_JOB_AT_MOST", "0"),
        ("CONSUMERS_JOB_AT_LEAST", "1.5"),
        ("CONSUMERS_JOB_THREADS", "0"),
        ("CONSUMERS_TIME_ZONE", "Mars/Olympus"),
        ("CONSUMERS_ENQUEUE_EVERY", "often"),
        ("CONSUMERS_ENQUEUE_EVERY", "10ms"),
        ("CONSUMERS_PRUNE_EVERY", "10 parsecs"),
        ("CONSUMERS_RETENTION", "for ever"),
        ("CONSUMERS_RETENTION", "-1"),
        ("CONSUMERS_HANDLERS", "my-module"),
        ("CONSUMERS_HTTP_ADDRESS", "9187"),
        ("CONSUMERS_HTTP_ADDRESS", "host:99999"),
        ("CONSUMERS_EVENTS_QUEUE", ""),
        ("CONSUMERS_EVENTS_QUEUE", "tasks"),
        ("CONSUMERS_EVENTS_QUEUE", "tasks.dead"),
        ("CONSUMERS_EVENTS_UNHANDLED", "drop"),
        ("CONSUMERS_EVENTS_ATTEMPTS", "0"),
        ("CONSUMERS_EVENTS_GAP_WAIT", "1h"),
        ("CONSUMERS_INBOX_RETENTION", "59m"),
    ],
)
def test_a_wrong_value_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationProblem, match=f"{name} is wrong: ") as raised:
        load(ConsumerSettings)
    assert "planted" not in str(raised.value)


def test_no_queue_of_tasks_gets_the_dead_letters_of_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUMERS_QUEUE", "a.dead")
    monkeypatch.setenv("CONSUMERS_EVENTS_QUEUE", "a")
    with pytest.raises(ConfigurationProblem, match="CONSUMERS_EVENTS_QUEUE is wrong: its dead-letter queue is the"):
        load(ConsumerSettings)


def test_a_lease_is_a_duration_from_a_second_to_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, seconds in (("30s", 30.0), ("1", 1.0), ("24h", 86_400.0)):
        monkeypatch.setenv("CONSUMERS_LEASE", text)
        assert load(ConsumerSettings).lease == seconds


def test_an_event_is_not_tried_for_longer_than_rabbitmq_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUMERS_EVENTS_ATTEMPTS", "100")
    with pytest.raises(
        ConfigurationProblem, match=r"^CONSUMERS_EVENTS_ATTEMPTS and CONSUMERS_EVENTS_RETRY_CAP would let .* for 28"
    ) as raised:
        load(ConsumerSettings)
    followed = re.search(r"set CONSUMERS_EVENTS_ATTEMPTS=(\d+)", raised.value.remedy)
    assert followed is not None
    monkeypatch.setenv("CONSUMERS_EVENTS_ATTEMPTS", str(int(followed[1]) + 1))
    with pytest.raises(ConfigurationProblem):
        load(ConsumerSettings)
    monkeypatch.setenv("CONSUMERS_EVENTS_ATTEMPTS", followed[1])
    assert load(ConsumerSettings).events_attempts == int(followed[1])
    monkeypatch.setenv("CONSUMERS_EVENTS_ATTEMPTS", "100")
    monkeypatch.setenv("CONSUMERS_EVENTS_RETRY_CAP", "10s")
    assert load(ConsumerSettings).events_attempts == 100


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:9188", "localhost:65535"])
def test_an_http_address_is_host_and_port(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("CONSUMERS_HTTP_ADDRESS", address)
    assert load(ConsumerSettings).http_address == address


@pytest.mark.parametrize("name", ["CA", "CERTIFICATE", "KEY"])
def test_a_certificate_without_tls_is_an_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"CONSUMERS_AMQP_{name}", "planted")
    why = f"CONSUMERS_AMQP_{name} is set, and CONSUMERS_AMQP_URL does not use TLS"
    with pytest.raises(ConfigurationProblem, match=why) as raised:
        load(ConsumerSettings)
    assert "planted" not in str(raised.value)
    monkeypatch.setenv("CONSUMERS_AMQP_URL", "amqp://localhost,amqps://mq.example")
    if name == "KEY":
        with pytest.raises(ConfigurationProblem, match="CONSUMERS_AMQP_KEY is set without CONSUMERS_AMQP_CERTIFICATE"):
            load(ConsumerSettings)
        monkeypatch.setenv("CONSUMERS_AMQP_CERTIFICATE", "planted")
    assert load(ConsumerSettings).amqp_url


def test_every_host_counts_for_encryption(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUMERS_AMQP_URL", "amqps://u:planted@a.example,amqp://u:planted@localhost,b.example")
    with pytest.raises(ConfigurationProblem, match=r"unencrypted to b\.example - use amqps"):
        load(ConsumerSettings)


@pytest.mark.parametrize("name", ["CONSUMER_QUEUE", "COSNUMERS_QUEUE"])
def test_a_misspelt_prefix_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "x")
    with pytest.raises(ConfigurationProblem, match=f"{name} is not a setting - did you mean CONSUMERS_QUEUE"):
        load(ConsumerSettings)


@pytest.mark.parametrize(
    ("text", "kept"),
    [("12h", timedelta(hours=12)), ("1w", timedelta(days=7)), ("90", timedelta(seconds=90))]
    + [(text, None) for text in ("off", "none", "0", "0d")],
)
def test_tasks_are_kept_for_a_duration_or_for_ever(
    text: str, kept: timedelta | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load(ConsumerSettings).retention == timedelta(days=7)
    monkeypatch.setenv("CONSUMERS_RETENTION", text)
    assert load(ConsumerSettings).retention == kept


def test_an_interval_is_a_number_of_seconds_or_a_duration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CONSUMERS_ENQUEUE_EVERY", "500ms")
    (tmp_path / "settings.toml").write_text("enqueue_every = 7\nprune_every = 90\nretention = 3600\n")
    settings = load(ConsumerSettings, tmp_path / "settings.toml")
    assert (settings.enqueue_every, settings.prune_every) == (0.5, 90)
    assert settings.retention == timedelta(hours=1)


def test_a_second_lock_in_redis_needs_its_url(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CONSUMERS_LOCK", "redis")
    with pytest.raises(
        ConfigurationProblem, match="CONSUMERS_REDIS_URL is not set, and CONSUMERS_LOCK is redis"
    ) as one:
        load(ConsumerSettings)
    assert one.value.remedy.startswith("set it in the environment")
    (tmp_path / "url").write_text("redis://u:planted@h:1/0\n")
    monkeypatch.setenv("CONSUMERS_REDIS_URL_FILE", str(tmp_path / "url"))
    settings = load(ConsumerSettings)
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == "redis://u:planted@h:1/0"
    assert "planted" not in repr(settings)


def test_a_wrong_url_of_redis_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUMERS_REDIS_URL", "redis://u:planted@h:planted")
    with pytest.raises(ConfigurationProblem, match="CONSUMERS_REDIS_URL is wrong") as caught:
        load(ConsumerSettings)
    assert "planted" not in str(caught.value)
