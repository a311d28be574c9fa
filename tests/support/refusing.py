"""How a command refuses: one line with the remedy at its end, an exit code, no traceback, and no secret anywhere."""

from urllib.parse import urlsplit

from tests.support.stage import Stage

SECRET = "planted-s3cret"  # a password, and looked for in all output


def refusal(stage: Stage, *arguments: str, **settings: str) -> str:
    """Run a command (`relay run` if none is named) with `settings`; return the line by which it fails."""
    return _refusal(stage, arguments, settings, code=1)


def mistake(stage: Stage, *arguments: str, **settings: str) -> str:
    """Do the same, and return the line by which it refuses its configuration."""
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
    print(line)  # noqa: T201 - for whoever writes the operations guide: pytest -s
    return line.removeprefix(start)
