"""`relay run` with RELAY_SHADOW as a process, and what `relay status` says of it."""

import pytest

from sandbox.machine.ports import free
from sandbox.machine.waiting import until
from tests.integration.relay.stage import call, environment
from tests.support.stage import Stage


@pytest.mark.parametrize(("source", "shadow"), [("auto", "polling"), ("polling", "wal")])
def test_status_sums_up_what_the_shadow_has_compared(stage: Stage, source: str, shadow: str) -> None:
    address = f"127.0.0.1:{free(1, taken=frozenset())[0]}"
    settings = {"RELAY_HTTP_ADDRESS": address, "RELAY_SOURCE": source, "RELAY_POLL_INTERVAL": "0.1"}
    tap = stage.set_up()
    relay = stage.start("relay", "run", RELAY_SHADOW=shadow, **settings)
    relay.logged("shadow compares", seconds=90, source=shadow)
    for number in range(3):
        stage.publish_in_one_transaction(5, str(number))
    variables = environment(stage.isolated, **settings)
    shown = until(
        lambda: (found := call(variables, "status", "--json").json["shadow"]) and found["compared"] >= 15 and found,
        what="all is compared",
        seconds=60,
    )
    assert (shown["source"], shown["comparing"], shown["compared"], shown["differences"]) == (shadow, True, 15, {})
    assert shown["live_first"]["events"] + shown["shadow_first"]["events"] == 15
    words = " ".join(call(variables, "status").output.split())
    assert f"shadow {shadow}: 15 events compared, no difference; " in words
    assert relay.terminate() == 0, relay.tail()
    assert len(tap.drain()) == 15


def test_without_a_shadow_nothing_is_said_of_one(stage: Stage) -> None:
    address = f"127.0.0.1:{free(1, taken=frozenset())[0]}"
    stage.set_up()
    stage.start("relay", "run", RELAY_HTTP_ADDRESS=address).streams()
    variables = environment(stage.isolated, RELAY_HTTP_ADDRESS=address)
    assert call(variables, "status", "--json").json["shadow"] is None
    assert "shadow" not in call(variables, "status").output
