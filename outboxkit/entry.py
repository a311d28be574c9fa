"""Where the process of each command begins. Importing one takes a while, and Ctrl-C may come meanwhile.

So this imports next to nothing itself, and knows the commands by their names alone: no package is imported for another.
"""

import os
import signal
from importlib import import_module
from typing import NoReturn

_INTERRUPTED = 128 + signal.SIGINT


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
    """Import `module` and run its `main` as this process; Ctrl-C ends it with 130 from the first moment on."""
    # Nothing has begun yet, so there is nothing to clear up; an exception would be raised in the middle of an import,
    # and a shell that started this in the background has SIGINT ignored, which stays so.
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interruptible:
        signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    main = import_module(module).main
    try:
        if interruptible:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        main()
    except KeyboardInterrupt as interrupt:  # before the command had begun, or when it had ended
        raise SystemExit(_INTERRUPTED) from interrupt
    raise SystemExit
