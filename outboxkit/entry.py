"""Where the process of each command begins. Imports take a while, and Ctrl-C may come during them.

So this module imports almost nothing itself, and knows the commands only by name: no package is imported for another.
"""

import io
import os
import signal
import sys
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from typing import NoReturn

_INTERRUPTED = 128 + signal.SIGINT
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
    """Import `module` and run its `main` as this process; Ctrl-C ends it with exit code 130 at any time."""
    # During the imports there is nothing to clean up, so the process ends at once: an exception could be raised in the
    # middle of an import. A shell that starts a command in the background ignores SIGINT for it; that is kept.
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interruptible:
        signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    _write_anything()
    _import_package(module.partition(".")[0])
    main = import_module(module).main
    try:
        if interruptible:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        main()
    except KeyboardInterrupt as interrupt:  # before the command began, or after it ended
        raise SystemExit(_INTERRUPTED) from interrupt
    raise SystemExit


def _write_anything() -> None:
    """Let standard output and error take any text, whatever their encoding: what it lacks is written as an escape.

    Python has no stream for a descriptor that was closed (`>&-`); then what is written is dropped.
    """
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - as long as the process
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - the same
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


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
