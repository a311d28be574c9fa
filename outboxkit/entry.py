"""Where the process of each command begins and ends: its streams, its signals and its exit code.

Imports take a while, and a signal may come during them. So this module imports almost nothing itself, and knows the
commands only by name: no package is imported for another.
"""

import os
import sys
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from typing import NoReturn

from outboxkit import streams
from outboxkit.signals import INTERRUPTED, signals

_HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - pathlib takes a while


def relay() -> NoReturn:
    """Run the command `relay`."""
    run("relay.operating.cli")


def consumers() -> NoReturn:
    """Run the command `consumers`."""
    run("consumers.cli")


def writers() -> NoReturn:
    """Run the command `writers`."""
    run("writers.cli")


def run(module: str) -> NoReturn:
    """Import `module`, run its `main` as this process, and end it. `run`, where a command has it, is a service."""
    signals.start(service=sys.argv[1:2] == ["run"])
    streams.prepare()
    name = module.partition(".")[0]
    try:
        _import_package(name)
        main = import_module(module).main
        signals.imported()
        main()
        code = 0
    except KeyboardInterrupt:  # before the command began, or after it ended
        code = INTERRUPTED
    except SystemExit as ended:
        code = _code(ended)
    signals.over(code)
    sys.exit(streams.finish(code, name=name))


def _code(ended: SystemExit) -> int:
    if isinstance(ended.code, str):  # as Python does
        sys.stderr.write(f"{ended.code}\n")
        return 1
    return ended.code or 0


def _import_package(name: str) -> None:
    """Import our package `name`, which lies beside this one, also when another `name` comes first on Python's path.

    With PYTHONPATH or `python -m`, that is a package of the application, which may have the same name.
    """
    spec = PathFinder.find_spec(name, [_HOME])
    if name in sys.modules or spec is None or spec.loader is None:
        return
    package = module_from_spec(spec)
    sys.modules[name] = package
    spec.loader.exec_module(package)
