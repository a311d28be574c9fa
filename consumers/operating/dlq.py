"""The commands `consumers dlq ...`: messages in the dead-letter queue, and their way back."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated

import typer
from rich.table import Table

from consumers.operating.display import age, console, moment, plain
from consumers.operating.letters import BATCH, Judged, judge, judge_events, take
from consumers.operating.options import Config, Json
from consumers.settings import ConsumerSettings
from outboxkit.amqp.connection import Connection
from outboxkit.amqp.consuming.dead_letters import DeadLetters, Letter
from outboxkit.amqp.topology import dead_letter_queue
from outboxkit.errors import ConfigurationProblem, Problem
from outboxkit.settings import load

app = typer.Typer(no_args_is_help=True, help="Messages in the dead-letter queues: list, redrive.")

Events = Annotated[bool, typer.Option("--events", help="Those of CONSUMERS_EVENTS_QUEUE instead of CONSUMERS_QUEUE.")]


def _queue(settings: ConsumerSettings, *, events: bool) -> str:
    """Return the queue whose dead letters are meant."""
    if not events:
        return settings.queue
    if settings.events_queue is None:
        raise ConfigurationProblem(
            "CONSUMERS_EVENTS_QUEUE is not set", remedy="set it as for `consumers run`, or leave out --events"
        )
    return settings.events_queue


@asynccontextmanager
async def _connected(settings: ConsumerSettings) -> AsyncIterator[Connection]:
    connection = await Connection.open(settings.amqp_url.get_secret_value(), name="consumers dlq", tls=settings.tls())
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def _opened(settings: ConsumerSettings, queue: str) -> AsyncIterator[DeadLetters]:
    """Open the dead letters of `queue`; what is taken and not settled goes back to its place afterwards.

    What RabbitMQ would drop then is renewed before, and goes behind all others.
    """
    async with _connected(settings) as connection:
        letters = await DeadLetters.open(connection, dead_letter_queue(queue))
        try:
            yield letters
        finally:
            await letters.renew()


async def _waiting(settings: ConsumerSettings, queue: str) -> int:
    """Return how many dead letters of `queue` there are, and touch none."""
    async with _connected(settings) as connection:
        channel = await connection.channel()
        found = await connection.call(channel.queue_declare, dead_letter_queue(queue), passive=True)
        return int(found.message_count)


def _judged(settings: ConsumerSettings, letters: Sequence[Letter], *, events: bool) -> list[Judged]:
    return judge_events(letters) if events else judge(settings, letters)


@app.command(name="list")
def list_(
    config: Config = None,
    *,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many messages to look at.")] = 20,
    events: Events = False,
    as_json: Json = False,
) -> None:
    """List the first messages: why each was dead-lettered, its task, and whether that still waits for it.

    They are taken and put back into their places, so RabbitMQ marks them as redelivered. What RabbitMQ 4 would drop, as
    put back too often, is published again instead: behind all others, without x-death.
    """
    settings = load(ConsumerSettings, config)
    queue = _queue(settings, events=events)

    async def look() -> tuple[list[Judged], int]:
        async with _opened(settings, queue) as letters:
            taken = await take(letters, limit, moves=False)
            return _judged(settings, taken, events=events), letters.left

    found, more = asyncio.run(look())
    if as_json:
        document = {"queue": dead_letter_queue(queue), "more": more, "messages": [*map(Judged.as_json, found)]}
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
    events: Events = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: Json = False,
) -> None:
    """Move messages back to the queue, if their task waits for them, or with --events, if they are events.

    All others stay, unless they are to be removed; an event in the dead-letter queue of tasks stays always.

    A message is removed from the dead-letter queue after RabbitMQ has confirmed that the queue has it. Those that stay
    are put back as by `list`, also with --dry-run.
    """
    settings = load(ConsumerSettings, config)
    queue = _queue(settings, events=events)
    if events and discard_stale:
        raise ConfigurationProblem("--discard-stale is about tasks", remedy="leave it out, or leave out --events")
    removed = {"undecodable": discard, "stale": discard_stale}
    if not (dry_run or yes) and (count := asyncio.run(_waiting(settings, queue))):
        what = ", and discard ".join([f"Redrive {count} messages at most from {dead_letter_queue(queue)} to {queue}",
                                      *(state for state, wanted in removed.items() if wanted)])  # fmt: skip
        typer.confirm(f"{what}?", abort=True, err=as_json)
    done: Counter[str] = Counter(matched=0, redriven=0, discarded=0, left=0)
    missing = set(ids or ())
    redriving = _redrive(
        settings, queue, done, missing, limit, wanted=ids, removed=removed, events=events, dry_run=dry_run
    )
    try:
        asyncio.run(redriving)
    except (Problem, KeyboardInterrupt):
        sys.stderr.write(f"consumers: {done['redriven']} redriven and {done['discarded']} discarded before this\n")
        raise
    if as_json:
        typer.echo(json.dumps({"dry_run": dry_run, **done}))
    else:
        would = "would be " if dry_run else ""
        states = ", ".join(f"{done[state]} {state}" for state in ("stale", "event", "undecodable") if done[state])
        typer.echo(
            f"{done['redriven']} {would}redriven, {done['discarded']} {would}discarded, {done['left']} left"
            + (f" ({states} among all)" if states else "")
        )
    if missing:
        raise Problem(
            f"not among the first {limit} messages: {', '.join(sorted(missing))}",
            remedy=f"`consumers dlq list{' --events' if events else ''}` shows those that are there; --limit looks "
            "further",
        )


async def _redrive(  # noqa: PLR0913 - what the options say
    settings: ConsumerSettings,
    queue: str,
    done: Counter[str],
    missing: set[str],
    limit: int,
    *,
    wanted: list[str] | None,
    removed: dict[str, bool],
    events: bool,
    dry_run: bool,
) -> None:
    """Go through the messages that are there now; those that come meanwhile are not meant."""
    async with _opened(settings, queue) as letters:
        first = await take(letters, 1, moves=not dry_run)
        left = min(limit, letters.left + len(first))
        batch = first
        while batch:
            left -= len(batch)
            chosen = [each for each in batch if not wanted or each.message_id in wanted]
            missing.difference_update(each.message_id or "" for each in chosen)
            judged = _judged(settings, chosen, events=events)
            done.update(each.state for each in judged)
            moved = [each.letter for each in judged if each.state == ("event" if events else "waits")]
            gone = [each.letter for each in judged if removed.get(each.state)]
            if not dry_run:
                await letters.move(moved, queue, with_key=events)
                for letter in gone:
                    letters.drop(letter)
                await letters.renew()
            left_there = len(judged) - len(moved) - len(gone)
            done.update(matched=len(judged), redriven=len(moved), discarded=len(gone), left=left_there)
            if wanted and not missing:
                return
            batch = await take(letters, min(left, BATCH), moves=not dry_run) if left else []
