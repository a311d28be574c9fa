"""How a handler ends (`Outcome`) and how its task's claim ends after that (`Ending`). Pure, frozen values."""

import json
import re
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from consumers.handlers.declaring.task import JSON

MAX_RESULT_BYTES = 1_048_576  # as for payloads: one row must not make the statement of a whole batch too large
MAX_ERROR_CHARACTERS = 1000

# jsonb cannot store U+0000 (https://www.postgresql.org/docs/current/datatype-json.html). An escaped backslash before
# "u0000" is ordinary text.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


@dataclass(frozen=True, slots=True)
class Completed:
    """The handler returned; `result` is JSON text, or None for no result."""

    result: str | None


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed: it is made again after `again_after` seconds, or never if that is None."""

    error: str
    again_after: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The handler did not run to its end: the claim is given back, and the task is offered again `after` seconds.

    A run that had `started` counts as an attempt; after the last one the task is dead.
    """

    reason: str = field(compare=False)
    started: bool
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """The handler's transaction committed, and completed the task."""


@dataclass(frozen=True, slots=True)
class ClaimLost:
    """The handler's transaction was rolled back: the claim was lost meanwhile, or the task was asked to stop."""


Outcome: TypeAlias = Completed | Failed | Unfinished | Applied | ClaimLost
Unwritten: TypeAlias = Completed | Failed | Unfinished | ClaimLost  # not yet written to the task's row

Ending: TypeAlias = Literal["completed", "failed", "dead", "released", "cancelled", "lost"]


def ending(  # noqa: PLR0911 - one for each ending
    outcome: Unwritten, version: int, status_now: str | None, version_now: int | None
) -> Ending:
    """Return how a claim at `version` ended, given the row's state after its `outcome` was written.

    Only the claim's owner can write completed or failed at the next version. A failed task is scheduled or dead one
    version later, in the same transaction. Others can make it pending, too: that is ours only if the claim was given
    back. A task that was asked to stop meanwhile is cancelled one version later, whatever its handler did.
    """
    match outcome, status_now, (version_now or 0) - version:
        case _, "completed", 1:
            return "completed"
        case Unfinished(), "pending", 1:
            return "released"
        case Unfinished(after=after), "scheduled", 2 if after is not None:
            return "released"
        case Failed(), "scheduled", 2:
            return "failed"
        case ((Failed() | Unfinished()), "dead", 2):
            return "dead"
        case _, "cancelled", 2:
            return "cancelled"
        case _:
            return "lost"


def encode_result(value: JSON) -> str | None:
    """Return `value` as JSON text that jsonb accepts; raises ValueError or TypeError if there is none."""
    if value is None:
        return None
    text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    if _NUL.search(text):
        raise ValueError("the result contains U+0000, which jsonb cannot hold")
    if (size := len(text.encode())) > MAX_RESULT_BYTES:
        raise ValueError(f"the result is {size} bytes as JSON; at most {MAX_RESULT_BYTES} are stored")
    return text


def describe(error: BaseException) -> str:
    """Return `error`'s type and message as text that Postgres accepts, cut to `MAX_ERROR_CHARACTERS`."""
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - the __str__ of a user's exception may raise
        message = "(its message cannot be read)"
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return text[:MAX_ERROR_CHARACTERS].replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
