"""`make mutants`: breaks the relay in ways that lose or repeat events, and checks that a test fails by each.

Every mutant is applied to a copy of the sources. One that no test notices, or whose text is gone, fails the run; so
does one whose tests do not end: tests that only take long would not end without it either.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.mutants.catalogue import MUTANTS, Mutant

_ROOT = Path(__file__).parents[2]
_SECONDS = 300
"""Longer than any tests of a mutant take, with what they wait for when it breaks them."""
_PACKAGES = ("relay", "consumers", "writers", "outboxkit", "sandbox", "sql", "tests")


def main() -> int:
    """Run every mutant, or those whose names contain the arguments; return 0 when each was caught."""
    chosen = [m for m in MUTANTS if not sys.argv[1:] or any(word in m.name for word in sys.argv[1:])]
    survived = [mutant.name for mutant in chosen if not _caught(mutant)]
    sys.stdout.write(f"{len(chosen) - len(survived)} of {len(chosen)} mutants caught\n")
    return 1 if survived or not chosen else 0


def _caught(mutant: Mutant) -> bool:
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch)
        for name in (*_PACKAGES, "docker"):
            if (_ROOT / name).exists():
                shutil.copytree(_ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(_ROOT / "pyproject.toml", copy)
        target = copy / mutant.file
        text = target.read_text(encoding="utf-8")
        if text.count(mutant.old) != 1:
            _say("STALE", mutant, f"its text occurs {text.count(mutant.old)} times in {mutant.file}")
            return False
        target.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *mutant.tests]
        environment = {**os.environ, "PYTHONPATH": scratch}
        try:
            done = subprocess.run(
                command, cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=_SECONDS
            )
        except subprocess.TimeoutExpired:
            _say("LATE", mutant, f"the tests did not end within {_SECONDS} s")
            return False
    failed = [
        line.removeprefix("FAILED ").split(" - ")[0] for line in done.stdout.splitlines() if line.startswith("FAILED ")
    ]
    caught = done.returncode == 1 and bool(failed)
    # pytest's own last lines only where it broke: a reader of the log takes them for those of the whole run.
    why = failed[0] if caught else f"pytest ended with {done.returncode}{done.stdout[-300:] * (done.returncode > 1)}"
    _say("caught" if caught else "SURVIVED", mutant, why)
    return caught


def _say(verdict: str, mutant: Mutant, why: str) -> None:
    sys.stdout.write(f"{verdict:9} {mutant.name}: {why}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
