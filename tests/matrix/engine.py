"""Images and containers of `make matrix`, by the engine's command: docker, or another one that takes its words."""

import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from outboxkit.errors import Problem
from tests.support.clone import clone

RESULTS = "/results/junit.xml"
"""Where a run leaves its results in its container."""
_IMAGE = "outbox-relay-matrix"
_DOCKERFILE = "tests/matrix/Dockerfile"
# Newer kernels ask for it when a socket gets a filter, which tests/support/proxy.py does to lose packets. It is over
# the container's own network only.
_CAPABILITY = "NET_ADMIN"
_PACKAGES = (
    *("dpkg-query", "--show", "--showformat=${Package} ${Version}\\n"),
    *("postgresql-[0-9]*", "rabbitmq-server", "python3"),
)


class Engine:
    """Runs `program`, which is docker or takes its words; what it prints goes to files in `directory`."""

    def __init__(self, program: str, directory: Path) -> None:
        if shutil.which(program) is None:
            raise Problem(f"{program} is not installed", remedy="install an engine, or name its command with --engine")
        self._program = program
        self._directory = directory

    def build(self, release: str, *, base: str) -> str:
        """Build the image of `release` on the image `base`, with the checkout as it is now, and return its name."""
        image = f"{_IMAGE}:{release}"
        log = self.log(release, "build")
        with tempfile.TemporaryDirectory(prefix="matrix-") as context:
            checkout = Path(context) / "checkout"
            clone(checkout)
            words = ("build", "--tag", image, "--build-arg", f"BASE={base}", "--file", checkout / _DOCKERFILE, context)
            if self._logged(words, log) != 0:
                raise Problem(
                    f"the image of {release} could not be built on {base}",
                    remedy=f"see {log}; if {base} is not there, name another one with --base",
                )
        return image

    def packages(self, image: str) -> str:
        """Return the packages of `image` with their versions, a line for each."""
        done = self._done("run", "--rm", image, *_PACKAGES)
        return done.stdout  # its exit code says only whether each name was found

    @contextmanager
    def ran(self, image: str, words: Sequence[str], log: Path | None) -> Iterator[tuple[int, "Container"]]:
        """Run `words` in a new container, and yield the exit code and the container, which is removed afterwards.

        What it prints goes to `log`, or to the terminal. The shell stays: as the first process, it is the one that
        takes in what servers leave behind.
        """
        container = Container(self, f"{_IMAGE}-{secrets.token_hex(4)}")
        command = (
            *("run", "--cap-add", _CAPABILITY, "--name", container.name, image),
            *("sh", "-c", '"$@"; exit "$?"', "sh", *words),
        )
        try:
            yield self._logged(command, log), container
        finally:
            self._done("rm", "--force", "--volumes", container.name)

    def log(self, release: str, what: str) -> Path:
        """Return the file for the output of `what`."""
        return self._directory / f"{release}.{what}.log"

    def copy(self, source: str, target: Path) -> None:
        """Copy a file out of a container."""
        self._done("cp", source, str(target))

    def _logged(self, words: Sequence[str | Path], log: Path | None) -> int:
        with ExitStack() as stack:
            output = None if log is None else stack.enter_context(log.open("wb"))
            return subprocess.run(
                [self._program, *words], check=False, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            ).returncode

    def _done(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._program, *words], check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )


class Container:
    """A container that has ended."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self.name = name

    def results(self) -> str | None:
        """Return what the tests left as results; None if they left none."""
        with tempfile.TemporaryDirectory(prefix="matrix-") as directory:
            target = Path(directory) / "junit.xml"
            self._engine.copy(f"{self.name}:{RESULTS}", target)
            with suppress(FileNotFoundError):
                return target.read_text(encoding="utf-8")
        return None
