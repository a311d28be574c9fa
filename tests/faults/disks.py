"""A file system that is full, with the table of parked events on it."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Composed, Identifier, Literal

from sandbox.machine.accounts import account
from sandbox.servers.postgres import USER
from tests.faults.run import Run

_SIZE = "8m"
_FILL = "INSERT INTO public.filler SELECT repeat(md5(random()::text), 100) FROM generate_series(1, 200)"
_REFUSE = """
    CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN RAISE 'no space left on device' USING ERRCODE = '53100'; END$$;
    CREATE TRIGGER refuse BEFORE INSERT ON relay.parked EXECUTE FUNCTION public.refuse()
"""


@contextmanager
def full(run: Run) -> Iterator[None]:
    """Fill the disk of relay.parked; where this user may not mount one, a trigger gives the same error."""
    directory = run.borrow(_disk())
    with _refused(run) if directory is None else _filled(run, run.borrow(_tablespace(run, directory))):
        yield


@contextmanager
def _disk() -> Iterator[Path | None]:
    """Yield a directory that is a small file system of its own, if this user may mount one."""
    directory = Path(tempfile.mkdtemp(prefix="faults-disk-"))
    options = f"size={_SIZE},mode=0700,uid={account(USER).uid}"
    mount = ["/bin/mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)]
    mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
    try:
        yield directory if mounted else None
    finally:
        if mounted:
            subprocess.run(["/bin/umount", str(directory)], check=True)
        shutil.rmtree(directory)


@contextmanager
def _tablespace(run: Run, directory: Path) -> Iterator[Identifier]:
    """Keep relay.parked in a tablespace in `directory`, until no relay runs any more."""
    space = Identifier(f"{run.stage.isolated.name}_space")
    _execute(run, SQL("CREATE TABLESPACE {} LOCATION {}").format(space, Literal(str(directory))))
    _execute(run, SQL("ALTER TABLE relay.parked SET TABLESPACE {}").format(space))
    try:
        yield space
    finally:
        _execute(run, SQL("ALTER TABLE relay.parked SET TABLESPACE pg_default"), SQL("CHECKPOINT"))
        _execute(run, SQL("DROP TABLESPACE {}").format(space))


@contextmanager
def _filled(run: Run, space: Identifier) -> Iterator[None]:
    """Leave no room in the tablespace."""
    _execute(run, SQL("CREATE UNLOGGED TABLE public.filler (filling text) TABLESPACE {}").format(space))
    try:
        while True:
            _execute(run, SQL(_FILL))
    except psycopg.errors.DiskFull:
        yield
    _execute(run, SQL("DROP TABLE public.filler"))


@contextmanager
def _refused(run: Run) -> Iterator[None]:
    _execute(run, SQL(_REFUSE))
    yield
    _execute(run, SQL("DROP TRIGGER refuse ON relay.parked"))


def _execute(run: Run, *statements: SQL | Composed) -> None:
    with psycopg.connect(run.stage.isolated.database_url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)
