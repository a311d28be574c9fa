"""`consumers run` with a second lock: a task that another handler runs waits for it, and Redis may come and go."""

from collections.abc import Iterator

import pytest

from outboxkit.errors import ConfigurationProblem
from sandbox.lifetime import private
from sandbox.machine.waiting import until
from sandbox.servers.redis import Redis
from tests.integration.consumers.second_lock.consumer import holding
from tests.integration.consumers.stage import Stage, get, metric


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with private.redis() as server:
        yield server


@pytest.mark.parametrize("kind", ["advisory", "redis"])
def test_a_task_that_another_handler_still_runs_waits_and_that_is_no_attempt(
    stage: Stage, redis: Redis, kind: str
) -> None:
    redis.start()
    (task,) = stage.submit("record")
    consumer = stage.consume(lock=kind, redis_url=redis.url)
    with holding(kind, redis.url if kind == "redis" else stage.isolated.database_url, task, lease=3):
        stage.relay()
        until(lambda: metric(consumer, "consumers_second_locks_total", outcome="busy"), what="it is busy", seconds=30)
        assert stage.effects() == []
    until(lambda: relayed(stage).effects(), what="it runs", seconds=30)
    stage.reaches(completed=1)
    assert stage.effects() == [task]
    assert stage.task(task)[2] == 1
    assert consumer.terminate() == 0


def relayed(stage: Stage) -> Stage:
    """Do what the relay would, also for the events of tasks that went back."""
    stage.relay()
    return stage


def test_redis_that_is_killed_and_comes_back_stops_no_task(stage: Stage, redis: Redis) -> None:
    redis.start()
    consumer = stage.consume(lock="redis", redis_url=redis.url)
    tasks = stage.submit("record", 50)
    stage.relay()
    stage.reaches(completed=50)
    redis.kill()
    tasks += stage.submit("record", 50)
    stage.relay()
    stage.reaches(completed=100)
    assert get(consumer, "/readyz")[0] == 200
    redis.start()
    consumer.logged("second lock available again")
    tasks += stage.submit("record", 50)
    stage.relay()
    stage.reaches(completed=150)
    assert sorted(stage.effects()) == sorted(tasks)
    outcomes = {
        outcome: metric(consumer, "consumers_second_locks_total", outcome=outcome) for outcome in ("held", "without")
    }
    assert outcomes == {"held": 100, "without": 50}
    assert [line["event"] for line in consumer.log if line["event"].startswith("second lock")] == [
        "second lock not available",
        "second lock available again",
    ]
    assert redis.command("DBSIZE") == ":0\r\n"
    assert consumer.terminate() == 0


def test_a_login_that_redis_refuses_is_one_line_without_the_password(stage: Stage, redis: Redis) -> None:
    redis.start()
    consumer = stage.command("run", lock="redis", redis_url=redis.url.replace("redis://:", "redis://:planted"))
    assert consumer.ended() == 1
    assert "CONSUMERS_LOCK=redis cannot be used: Redis refuses the login" in consumer.stderr
    assert "planted" not in consumer.stderr
    assert "Traceback" not in consumer.stderr


def test_redis_without_its_url_is_wrong_before_any_server_is_asked(stage: Stage) -> None:
    consumer = stage.command("run", lock="redis")
    assert consumer.ended() == ConfigurationProblem.exit_code
    assert "CONSUMERS_REDIS_URL is not set" in consumer.stderr
