"""The log of committed ids, one per line: an audit compares the database with it.

An id is written, without a buffer, right after its commit and never before it. So the log lists what was committed. If
this process is killed between a commit and the write, the log lacks the last batch of each writer.
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
    """Yield a function that appends ids to the file at `path`; without a path it does nothing.

    Raises ConfigurationProblem if the file cannot be opened. The function raises Problem if it cannot be written.
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
        while lines:  # a pipe or a nearly full disk accepts only a part
            lines = lines[file.write(lines) :]
    except OSError as error:
        raise Problem(
            f"{len(ids)} committed ids could not be written to {file.name}: {error.strerror}",
            remedy=f"make room for it; the log lacks the ids from {ids[0]} on",
        ) from error
