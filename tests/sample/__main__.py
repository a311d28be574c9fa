"""`python -m tests.sample COMMIT SECONDS`: some faults and mutants, as CI runs them after `make test`."""

import sys

from tests.faults.catalogue import FAULTS
from tests.mutants.catalogue import MUTANTS
from tests.sample.drawing import runs
from tests.sample.running import run_all

_EACH = 6
_SECONDS = 15 * 60.0


def main(commit: str, left: str) -> int:
    """Run the sample of `commit` within the seconds that are `left`; return 1 if one of it failed."""
    chosen = runs(
        commit,
        faults=[fault.name for fault in FAULTS],
        mutants=[mutant.name for mutant in MUTANTS],
        each=_EACH,
    )
    _say(f"sample of commit {commit}: {_EACH} of {len(FAULTS)} faults, {_EACH} of {len(MUTANTS)} mutants")
    for run in chosen:
        _say(f"  {run}")
    broken = run_all(chosen, seconds=min(_SECONDS, float(left)), say=_say)
    for run in broken:
        _say(f"broken: {run}")
    _say("sample: something is broken" if broken else "sample: nothing is broken")
    return 1 if broken else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
