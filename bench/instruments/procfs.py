"""CPU and memory of processes and of the machine, as the kernel counts them (proc(5)).

Times are in seconds, sizes in bytes. Linux splits a process' time into user and system time by sampling, but counts
the sum exactly, so only the sum is read.
"""

import os
from collections.abc import Iterable
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
TICK = 1 / _TICKS
"""Seconds: CPU time is counted in these."""
_UTIME, _STIME = 11, 12  # counted after the program's name, which may hold spaces and parentheses
_CUTIME, _CSTIME = 13, 14
_IDLE, _IOWAIT = 3, 4
_RESET_PEAK = "5"


def cpu(pids: Iterable[int]) -> float:
    """Return the CPU time that `pids` have used together; a process that has ended counts as 0."""
    return sum(map(_cpu, pids))


def cpu_with_children(pids: Iterable[int]) -> float:
    """Return the CPU time that `pids` have used together with their children that have ended.

    Given all processes of a server, nothing is lost when a session ends between two readings.
    """
    return sum(_times(pid, (_UTIME, _STIME, _CUTIME, _CSTIME)) for pid in pids)


def _cpu(pid: int) -> float:
    return _times(pid, (_UTIME, _STIME))


def _times(pid: int, which: tuple[int, ...]) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(fields[number]) for number in which) / _TICKS


def machine() -> tuple[float, float]:
    """Return the busy and the idle time of all cores together; neither contains a virtual machine's stolen time."""
    fields = [int(field) for field in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]]
    idle = fields[_IDLE] + fields[_IOWAIT]
    user, nice, system, irq, softirq = (fields[n] for n in (0, 1, 2, 5, 6))
    return (user + nice + system + irq + softirq) / _TICKS, idle / _TICKS


def resident(pid: int) -> int:
    """Return the resident memory of `pid`; 0 if it has ended."""
    return _status(pid, "VmRSS") if Path(f"/proc/{pid}/status").exists() else 0


def peak(pid: int) -> int:
    """Return the peak resident memory of `pid` since its start or the last `reset_peak`."""
    return _status(pid, "VmHWM")


def reset_peak(pid: int) -> None:
    """Set the peak of `pid` to its present resident memory (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK, encoding="ascii")


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024
    raise ValueError(f"process {pid} has no {name}")
