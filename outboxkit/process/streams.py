"""The standard streams of a command. Any text can be written, and a write that fails interrupts no work.

The first failure of a stream is kept, and what is written after it is dropped: a command that was told to do something
does it to its end, whoever reads its output. When it ends, `finish` says what could not be written. A reader that left
(`| head`) is no failure. It imports almost nothing, because each command begins with it.
"""

import codecs
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

ESCAPE = "outboxkit.escape"
_FAILED, _BAD_ANSWER = 1, 3


class Descriptor(io.RawIOBase):
    """Writes to the file descriptor `number`; keeps the first error instead of raising it, unless `raising`."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.error: OSError | None = None
        self.raising = False

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self._number

    def writable(self) -> bool:
        """Return true."""
        return True

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return os.isatty(self._number)

    def write(self, text: "bytes | memoryview", /) -> int:  # type: ignore[override]
        """Write some of `text` and return how much; all of it counts as written when that has failed."""
        while self.error is None:
            try:
                return os.write(self._number, text)
            except BlockingIOError:  # whoever shares the descriptor may have made it non-blocking
                select.select([], [self._number], [])
            except OSError as error:
                self.error = error
        if self.raising:
            raise self.error
        return len(text)


_output = Descriptor(1)


def prepare() -> None:
    """Replace the standard streams; a descriptor that was closed (`>&-`) is /dev/null from here on."""
    codecs.register_error(ESCAPE, escaped)
    for number in range(3):
        _open(number)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as the process
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    sys.stdout = _stream(_output, sys.stdout)
    sys.stderr = _stream(Descriptor(2), sys.stderr)


@contextmanager
def until_reader_leaves() -> Iterator[None]:
    """End the block at the first write to standard output that fails; for commands that print without end."""
    _output.raising = True
    try:
        yield
    except OSError as error:
        if error is not _output.error:
            raise
    finally:
        _output.raising = False


def unread() -> bool:
    """Return whether a write to standard output has failed, so that nobody reads what follows."""
    return _output.error is not None


def finish(code: int, *, name: str) -> int:
    """Flush the streams, say what could not be written, and return the exit code of a command that ends with `code`."""
    sys.stdout.flush()
    if _output.error is not None and not isinstance(_output.error, ConnectionError):
        reason = _output.error.strerror
        sys.stderr.write(f"{name}: cannot write to standard output: {reason} - let it go where there is room for it\n")
        code = _FAILED if code in {0, _BAD_ANSWER} else code
    sys.stderr.flush()
    return code


def _open(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # takes the lowest free descriptor, which is this one


def _stream(descriptor: Descriptor, before: "TextIO | None") -> TextIO:
    encoding = getattr(before, "encoding", None) or "utf-8"
    return io.TextIOWrapper(
        io.BufferedWriter(descriptor),  # type: ignore[type-var]  # a RawIOBase of another name
        encoding=encoding,
        errors=ESCAPE,
        line_buffering=descriptor.isatty() or descriptor.fileno() == 2,  # noqa: PLR2004 - standard error
    )


def escaped(error: UnicodeError) -> tuple[str, int]:
    r"""Write what the encoding lacks as JSON does (`\u2192`): so a JSON document stays one, and text can be read."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)), error.end
