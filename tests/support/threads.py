"""Threads that write until they are told to stop."""

import threading
from collections.abc import Callable, Sequence
from typing import Self


class Threads:
    """Runs each of `works` in a thread, within the block; a work that ends by an error is raised by `stop`."""

    def __init__(self, works: Sequence[Callable[[], None]]) -> None:
        self._stop = threading.Event()
        self._failure: Exception | None = None
        self._threads = [threading.Thread(target=self._guarded, args=(work,), name="writer") for work in works]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Let each work finish what it has begun; raises what one of them raised."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._failure is not None:
            raise self._failure

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - a thread's error is raised by `stop`
            self._failure = error
