"""Where the process of each command begins and ends: its streams, its signals and its exit code.

Imports take a while, and a signal may come during them. So this module imports next to nothing before it has told the
system what signals do, and knows the commands only by name: no package is imported for another.
"""

import sys

from outboxkit.process.signals import INTERRUPTED, signals

TYPE_CHECKING = False
if TYPE_CHECKING:  # as `typing` defines it; importing that takes as long as all the rest
    from typing import NoReturn


def relay() -> "NoReturn":
    """Run the command `relay`."""
    run("relay.operating.cli")


def consumers() -> "NoReturn":
    """Run the command `consumers`."""
    run("consumers.operating.cli")


def writers() -> "NoReturn":
    """Run the command `writers`."""
    run("writers.cli")


def run(module: str) -> "NoReturn":
    """Import `module`, run its `main` as this process, and end it. Its commands `run` and `serve` are services."""
    signals.start(service=sys.argv[1:2] in (["run"], ["serve"]))
    from outboxkit.process import loading, streams  # noqa: PLC0415 - see above

    streams.prepare()
    try:
        main = loading.load(module).main
        signals.imported()
        main()
        code = 0
    except KeyboardInterrupt:  # before the command began, or after it ended
        code = INTERRUPTED
    except SystemExit as ended:
        code = _code(ended)
    signals.over(code)
    sys.exit(streams.finish(code, name=module.partition(".")[0]))


def _code(ended: SystemExit) -> int:
    if isinstance(ended.code, str):  # as Python does
        sys.stderr.write(f"{ended.code}\n")
        return 1
    return ended.code or 0
