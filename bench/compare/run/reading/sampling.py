"""Samples what a slot retains and how large the tables are, in a thread, while something else is waited for."""

import threading
import time
from types import TracebackType
from typing import Self

from bench.compare.results import RETAINED, TABLE, Series
from bench.compare.run.reading import spending
from bench.stage import Stage

_EVERY = 0.5
_END_SECONDS = 30.0


class Sampler:
    """Takes samples for a `with` block, the first one before it begins: what grows in it is measured from there.

    A first sample that takes longer than `begin_seconds` is a TimeoutError; what fails in a sample is raised as it is.
    """

    def __init__(self, place: Stage, *, begin_seconds: float = 30.0) -> None:
        self._place = place
        self._begin_seconds = begin_seconds
        self._begun = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="samples", daemon=True)
        self._retained: list[tuple[float, float]] = []
        self._tables: list[tuple[float, float]] = []
        self._failure: BaseException | None = None

    def series(self, begin: float) -> dict[str, Series]:
        """Return the samples, in seconds from `begin` (since 1970); those of a slot only if there is one."""
        found = {TABLE: self._tables, RETAINED: self._retained}
        return {
            name: Series("B", tuple((at - begin, value) for at, value in samples))
            for name, samples in found.items()
            if samples
        }

    def __enter__(self) -> Self:
        self._thread.start()
        begun = self._begun.wait(self._begin_seconds)
        if begun and self._failure is None:
            return self
        self._ended.set()
        raise self._failure or TimeoutError(f"no sample of the sizes within {self._begin_seconds:g} s")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(_END_SECONDS)
        if self._failure is not None and error is None:
            raise self._failure

    def _run(self) -> None:
        try:
            with self._place.connect() as connection:  # one for all samples: a new session costs more than a sample
                while not self._ended.is_set():
                    retained, tables = spending.sizes(connection, self._place.exchange)
                    at = time.time()
                    self._tables.append((at, float(tables)))
                    if retained is not None:
                        self._retained.append((at, float(retained)))
                    self._begun.set()
                    self._ended.wait(_EVERY)
        except BaseException as error:  # noqa: BLE001 - raised where the block begins or ends
            self._failure = error
            self._begun.set()
