"""What SIGINT and SIGTERM do at each moment of a process."""

import json
import signal
import subprocess
import sys

import pytest

# Runs a service as `relay run` does. It sends itself the signals that it is given, each at its moment.
SERVICE = """
import asyncio, os, signal, sys, types
from outboxkit.process import entry

moments = dict(each.split("=") for each in sys.argv[2:])

def send(moment):
    if moment in moments:
        os.kill(os.getpid(), getattr(signal, moments[moment]))

def main():
    from outboxkit.process import logs, service
    logs.configure()
    send("before the loop")

    async def work(stop):
        send("starting")
        await asyncio.sleep(3600 if "starting" in moments else 0)
        stop.ready(lambda: print("3 left", file=sys.stderr))
        send("running")
        await stop.wait()
        print("stopping", flush=True)
        send("draining")
        await asyncio.sleep(3600 if "draining" in moments else 0)
        print("drained", flush=True)

    service.run(work)
    send("ending")
    sys.exit(0)

sys.modules["command"] = types.SimpleNamespace(main=main)
entry.run("command")
"""


def ended(command: str, **moments: str) -> subprocess.CompletedProcess[str]:
    given = [f"{moment.replace('_', ' ')}={number}" for moment, number in moments.items()]
    return subprocess.run(
        [sys.executable, "-c", SERVICE, command, *given], capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize("moment", ["before_the_loop", "starting"])
def test_a_service_that_is_stopped_before_it_has_begun_ends_in_order_with_a_line(moment: str) -> None:
    for number in ("SIGTERM", "SIGINT"):
        end = ended("run", **{moment: number})
        assert (end.returncode, end.stdout) == (0, ""), end
        assert json.loads(end.stderr)["event"] == "stopped"


def test_a_service_drains_at_the_first_signal_and_no_later_one_changes_its_exit_code() -> None:
    for number in ("SIGTERM", "SIGINT"):
        end = ended("run", running=number, ending=number)
        assert (end.returncode, end.stdout, end.stderr) == (0, "stopping\ndrained\n", "")


def test_the_second_signal_ends_a_service_at_once_and_it_says_what_is_left() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        end = ended("run", running="SIGTERM", draining=number.name)
        assert (end.returncode, end.stdout, end.stderr) == (128 + number, "stopping\n", "3 left\n")


FORKING = """
import os, signal, sys
from outboxkit.process.signals import Listener, signals

class Loud(Listener):
    def stop(self):
        print("stop", flush=True)

    def give_up(self):
        print("give up", flush=True)

came_before = int(sys.argv[1])
with signals.heard(Loud()):
    for _ in range(came_before):
        os.kill(os.getpid(), signal.SIGTERM)
    child = os.fork()
    if child == 0:
        os.kill(os.getpid(), signal.SIGTERM)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.parametrize(("came_before", "heard"), [(0, ""), (1, "stop\n")])
def test_a_forked_child_ends_at_once_and_neither_stops_nor_gives_back_its_parents_work(
    came_before: int, heard: str
) -> None:
    end = subprocess.run(
        [sys.executable, "-c", FORKING, str(came_before)], capture_output=True, text=True, check=False, timeout=120
    )
    assert (end.returncode, end.stdout, end.stderr) == (0, f"{heard}{128 + signal.SIGTERM}\n", "")


def test_another_command_has_the_usual_exit_codes_before_its_work() -> None:
    assert ended("tail", before_the_loop="SIGTERM").returncode == -signal.SIGTERM
    assert ended("tail", before_the_loop="SIGINT").returncode == 130


IMPORTING = """
import os, signal, sys
from outboxkit.process import entry

class Sender:
    @staticmethod
    def find_spec(name, path, target=None):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Sender)
entry.run("relay.operating.cli")
"""


@pytest.mark.parametrize(("command", "code"), [("run", 0), ("check", -signal.SIGTERM)])
def test_a_service_that_is_stopped_during_its_imports_ends_in_order(command: str, code: int) -> None:
    end = subprocess.run(
        [sys.executable, "-c", IMPORTING, command], capture_output=True, text=True, check=False, timeout=120
    )
    assert (end.returncode, end.stdout, "Traceback" in end.stderr) == (code, "", False)
    assert ("SIGTERM came before it had begun" in end.stderr) is (code == 0)
