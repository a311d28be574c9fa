"""The curl lines of a page, and what stands below each as its answer.

A page has ids, cursors and times of another day. Ids and cursors of the page stand for those of this run, from their
first appearance on; of a time it counts that there is one. Of the headers, a page may leave out some, and the words
behind a status are Python's.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PLACE = "localhost:8080"
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"(?:.*\\\n)*.*\n")
_NAME = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|(?<![\w-])[\w-]{32}(?![\w-])")
_TIME = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
_SECONDS = 60


@dataclass(frozen=True)
class Step:
    """A command, and what the page says that it prints."""

    command: str
    printed: str


def steps(page: Path) -> list[Step]:
    """Return the curl lines of `page` in their order."""
    return [step for block in _BLOCK.findall(page.read_text(encoding="utf-8")) for step in _steps(block)]


def _steps(block: str) -> Iterator[Step]:
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command = _COMMAND.match(part)
        assert command is not None, part
        yield Step(command[0].strip(), part[command.end() :].strip())


class Run:
    """Runs steps against the service at `address`, and compares what they print."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._names: dict[str, str] = {}

    def __call__(self, step: Step) -> None:
        """Run `step`; fails if it prints something else than the page says."""
        output = self.printed(step.command)
        said_headers, said = _parts(step.printed)
        headers, body = _parts(output)
        self._learn(said, body)
        self._learn("\n".join(said_headers), "\n".join(line for line in headers if _named(line, said_headers)))
        assert _read(self._renamed(said)) == _read(body), step.command
        missing = {self._renamed(line) for line in said_headers} - set(headers)
        assert not missing, f"{step.command}\n{output}"

    def printed(self, command: str) -> str:
        """Run `command` and return what it prints; fails if it fails."""
        line = self._renamed(command).replace(PLACE, self._address)
        done = subprocess.run(["/bin/bash", "-c", line], capture_output=True, text=True, timeout=_SECONDS, check=False)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        return done.stdout.replace("\r\n", "\n")

    def _renamed(self, text: str) -> str:
        return _NAME.sub(lambda found: self._names.get(found[0], found[0]), text)

    def _learn(self, said: str, printed: str) -> None:
        for name, now in zip(_NAME.findall(said), _NAME.findall(printed), strict=False):
            self._names.setdefault(name, now)


def _parts(text: str) -> tuple[list[str], str]:
    """Return the headers and the body of what curl prints; without -i there are no headers."""
    if not text.startswith("HTTP/"):
        return [], text
    headers, _, body = text.partition("\n\n")
    protocol, status, *_ = headers.split(maxsplit=2)
    return [f"{protocol} {status}", *headers.splitlines()[1:]], body


def _named(line: str, others: list[str]) -> bool:
    return any(line.partition(":")[0] == other.partition(":")[0] for other in others)


def _read(body: str) -> object:
    """Return a body of JSON as its value, so that a page may break its lines."""
    text = _TIME.sub("<a time>", body)
    try:
        return json.loads(text)
    except ValueError:
        return text.strip()
