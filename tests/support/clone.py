"""A fresh clone of the checkout, as images are built from it."""

import shutil
import subprocess
from pathlib import Path

from tests.support.commands import ROOT


def clone(place: Path) -> Path:
    """Copy what git tracks, as it is now, and what a builder behind a proxy adds; return the copy."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place / name)
    for certificate in (ROOT / "docker" / "certificates").glob("*.crt"):
        shutil.copy2(certificate, place / "docker" / "certificates")
    return place
