"""The commands `consumers dlq ...`: messages in the dead-letter queue, and their way back."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from consumers.operating.display import age, console, moment, plain
from consumers.operating.letters import BATCH, Judged, judge, take
from consumers.settings import ConsumerSettings
from outboxkit.amqp.connection import Connection
from outboxkit.amqp.dead_letters import DeadLetters
from outboxkit.amqp.topology import dead_letter_queue
from outboxkit.errors import Problem
from outboxkit.settings import load

app = typer.Typer(no_args_is_help=True, help="Messages in the dead-letter queue: list, redrive.")

Config = Annotated[Path | None, typer.Option("--config", help="TOML file with settings; the environment wins.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@asynccontextmanager
async def _opened(settings: ConsumerSettings) -> AsyncIterator[DeadLetters]:
    """Open the queue; what is taken and not settled goes back to its place afterwards."""
    connection = await Connection.open(settings.amqp_url.get_secret_value(), name="consumers dlq", tls=settings.tls())
    try:
        yield await DeadLetters.open(connection, dead_letter_queue(settings.queue))
    finally:
        await connection.close()


@app.command(name="list")
def list_(
    config: Config = None,
    *,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many messages to look at.")] = 20,
    as_json: Json = False,
) -> None:
    """List the first messages: why each was dead-lettered, its task, and whether that still waits for it.

    They are taken and put back into their places, so RabbitMQ marks them as redelivered.
    """
    settings = load(ConsumerSettings, config)

    async def look() -> tuple[list[Judged], int]:
        async with _opened(settings) as letters:
            taken = await take(letters, limit)
            return judge(settings, taken), letters.left

    found, more = asyncio.run(look())
    if as_json:
        document = {"queue": dead_letter_queue(settings.queue), "more": more, "messages": [*map(Judged.as_json, found)]}
        typer.echo(json.dumps(document, default=str))
        return
    table = Table("message", "task", "version", "state", "about", "reason", "died (UTC)", "ago")
    for each in found:
        shown = each.as_json()
        seconds = shown["age_seconds"]
        ago = age(max(seconds, 0)) if isinstance(seconds, int) else None
        cells = (shown["message_id"], shown["task"], shown["version"], each.state, each.about, each.letter.reason)
        table.add_row(*map(plain, (*cells, moment(each.letter.died_at), ago)))
    console().print(table if found else "the dead-letter queue is empty")
    if more:
        typer.echo(f"{more} more than listed: --limit shows more")


@app.command()
def redrive(  # noqa: PLR0913 - the options of a command
    config: Config = None,
    *,
    ids: Annotated[list[str] | None, typer.Option("--id", help="Only this message. May be repeated.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many messages to look at.")] = 10_000,
    discard: Annotated[bool, typer.Option("--discard", help="Remove those that cannot be decoded.")] = False,
    discard_stale: Annotated[
        bool, typer.Option("--discard-stale", help="Remove those whose task does not wait for them any more.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: Json = False,
) -> None:
    """Move messages back to the queue, if their task waits for them. All others stay, unless they are to be removed.

    A message is removed from the dead-letter queue after RabbitMQ has confirmed that the queue has it.
    """
    settings = load(ConsumerSettings, config)
    removed = {"undecodable": discard, "stale": discard_stale}
    if not (dry_run or yes):
        what = ", and remove ".join([f"Move messages from {dead_letter_queue(settings.queue)} to {settings.queue}",
                                     *(state for state, wanted in removed.items() if wanted)])  # fmt: skip
        typer.confirm(f"{what}?", abort=True, err=as_json)
    done: Counter[str] = Counter(moved=0, removed=0, left=0)
    missing = set(ids or ())
    try:
        asyncio.run(_redrive(settings, done, missing, limit, wanted=ids, removed=removed, dry_run=dry_run))
    except (Problem, KeyboardInterrupt):
        sys.stderr.write(f"consumers: {done['moved']} moved and {done['removed']} removed before this\n")
        raise
    if as_json:
        typer.echo(json.dumps({"dry_run": dry_run, **done}))
    else:
        would = "would be " if dry_run else ""
        states = ", ".join(f"{done[state]} {state}" for state in ("stale", "undecodable") if done[state])
        typer.echo(
            f"{done['moved']} {would}moved, {done['removed']} {would}removed, {done['left']} left"
            + (f" ({states} among all)" if states else "")
        )
    if missing:
        raise Problem(
            f"not among the first {limit} messages: {', '.join(sorted(missing))}",
            remedy="`consumers dlq list` shows those that are there; --limit looks further",
        )


async def _redrive(  # noqa: PLR0913 - what the options say
    settings: ConsumerSettings,
    done: Counter[str],
    missing: set[str],
    limit: int,
    *,
    wanted: list[str] | None,
    removed: dict[str, bool],
    dry_run: bool,
) -> None:
    """Go through the messages that are there now; those that come meanwhile are not meant."""
    async with _opened(settings) as letters:
        first = await take(letters, 1)
        left = min(limit, letters.left + len(first))
        batch = first
        while batch:
            left -= len(batch)
            chosen = [each for each in batch if not wanted or each.message_id in wanted]
            missing.difference_update(each.message_id or "" for each in chosen)
            judged = judge(settings, chosen)
            done.update(each.state for each in judged)
            moved = [each.letter for each in judged if each.state == "waits"]
            gone = [each.letter for each in judged if removed.get(each.state)]
            if not dry_run:
                await letters.move(moved, settings.queue)
                for letter in gone:
                    letters.drop(letter)
            done.update(moved=len(moved), removed=len(gone), left=len(judged) - len(moved) - len(gone))
            if wanted and not missing:
                return
            batch = await take(letters, min(left, BATCH)) if left else []
