"""Two relays on one slot: one streams, the other logs that it is a standby, and takes over."""

from tests.support.roles import role
from tests.support.stage import Stage


def test_the_second_relay_stands_by_and_takes_over_when_the_first_dies(stage: Stage) -> None:
    """The second one has its own role, with only the rights that a relay needs."""
    tap = stage.set_up()
    consumer = stage.consumer()
    first = stage.start("relay", "run")
    first.logged("streaming")
    (holder,) = stage.query("SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s", stage.isolated.name)
    with role(stage.isolated.database_url, "LOGIN REPLICATION", "relay") as url:
        second = stage.start("relay", "run", RELAY_DATABASE_URL=url)
        line = second.logged("standby")
        assert f"slot '{stage.isolated.name}' is held by 'relay', pid {holder[0]}" in line["reason"]
        assert "takes over" in line["remedy"]

        load = stage.submit("--count", "1000000", "--writers", "2", "--batch", "10", "--rate", "300")
        stage.applied(100)
        first.kill()
        second.logged("streaming", seconds=20)
        stage.applied(len(stage.ids()) + 100)
        assert load.terminate() == 143, load.tail()
        stage.applied(len(stage.ids()))
        assert second.terminate() == 0

    assert consumer.terminate() == 0
    stage.judge(tap)
    events = [line["event"] for line in second.log]
    assert events == ["publishing", "standby", "streaming", "stopped"]
