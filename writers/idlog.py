"""The log of committed ids, one a line: what an audit compares the database with.

An id is written, and given to the operating system, right after its commit and never before it. So the log is what
was committed, unless this process is killed between the two: then it lacks the batches that were just committed.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from uuid import UUID

from outboxkit.errors import ConfigurationProblem, Problem

Append = Callable[[Sequence[UUID]], None]


@contextmanager
def opened(path: Path | None) -> Iterator[Append]:
    """Yield what appends ids to the file at `path`; without a path they go nowhere.

    Raises ConfigurationProblem when it cannot be opened; appending raises Problem when it cannot be written.
    """
    if path is None:
        yield lambda _ids: None
        return
    try:
        file = path.open("ab", buffering=0)
    except OSError as error:
        raise ConfigurationProblem(
            f"{path} cannot be opened for the ids: {error.strerror}",
            remedy="name a file that can be written with --ids",
        ) from error
    with file:
        yield lambda ids: _append(file, ids)


def _append(file: FileIO, ids: Sequence[UUID]) -> None:
    lines = "".join(f"{task_id}\n" for task_id in ids).encode()
    try:
        while lines:  # a nearly full disk or a pipe takes a part
            lines = lines[file.write(lines) :]
    except OSError as error:
        raise Problem(
            f"{len(ids)} committed ids could not be written to {file.name}: {error.strerror}",
            remedy=f"make room for it; the log lacks them from {ids[0]} on",
        ) from error
