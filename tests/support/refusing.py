"""How a command fails: a last line with the remedy, an exit code, no traceback, and no password anywhere."""

from urllib.parse import urlsplit

from tests.support.stage import Stage

SECRET = "planted-s3cret"  # a password that no output may contain


def refusal(stage: Stage, *arguments: str, **settings: str) -> str:
    """Run a command (default: `relay run`) that must fail with exit code 1; return its last line."""
    return _refusal(stage, arguments, settings, code=1)


def mistake(stage: Stage, *arguments: str, **settings: str) -> str:
    """Run a command that must fail with exit code 2, for its configuration; return its last line."""
    return _refusal(stage, arguments, settings, code=2)


def _refusal(stage: Stage, arguments: tuple[str, ...], settings: dict[str, str], *, code: int) -> str:
    arguments = arguments or ("relay", "run")
    command = stage.run(*arguments, **settings)
    assert command.process.returncode == code, command.tail()
    start = f"{arguments[0]}: "
    lines = command.stderr.splitlines()
    (line,) = (line for line in lines if line.startswith(start))
    assert line == lines[-1]
    assert command.stdout == ""
    output = command.stderr + command.stdout
    assert "Traceback" not in output
    secrets = {SECRET, *(urlsplit(url).password for url in (stage.isolated.database_url, stage.isolated.amqp_url))}
    assert not [secret for secret in secrets if secret and secret in output]
    print(line)  # noqa: T201 - the texts for the operations guide: pytest -s
    return line.removeprefix(start)
