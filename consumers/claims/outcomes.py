"""What can become of a claimed task: a closed set of frozen results, and how they are put into words. Pure.

A handler's outcome says what happened in the thread; `Settlement` says what the row became of it.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from consumers.handlers.task import JSON

MAX_RESULT_BYTES = 1_048_576  # as for payloads: what one row may add to a statement that settles many
MAX_ERROR_CHARACTERS = 1000

# jsonb cannot hold U+0000 (https://www.postgresql.org/docs/current/datatype-json.html); an escaped backslash before
# "u0000" is text that only looks like it.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


@dataclass(frozen=True, slots=True)
class Completed:
    """The handler returned; `result` is JSON text, or None for no result."""

    result: str | None


@dataclass(frozen=True, slots=True)
class Failed:
    """The handler raised, or there is none."""

    error: str


@dataclass(frozen=True, slots=True)
class Unfinished:
    """It did not run, or lost its connection, through no fault of its own: the claim is given back."""

    reason: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class Applied:
    """The handler's transaction committed, and the completion with it."""


@dataclass(frozen=True, slots=True)
class ClaimLost:
    """The handler's transaction was rolled back, since the claim was no longer its own."""


Outcome: TypeAlias = Completed | Failed | Unfinished | Applied | ClaimLost
Written: TypeAlias = Completed | Failed | Unfinished  # what is still to be written

Settlement: TypeAlias = Literal["completed", "failed", "released", "lost"]


def settlement(version: int, status_now: str | None, version_now: int | None) -> Settlement:
    """Tell what a claim at `version` became, from the row's state after its outcome was written.

    The next version's status tells: only whoever held the claim can have written completed or failed there.
    """
    if version_now == version + 1:
        match status_now:
            case "completed" | "failed":
                return status_now
            case "pending":
                return "released"
            case _:
                pass
    return "lost"


def encode_result(value: JSON) -> str | None:
    """Return `value` as JSON text that jsonb accepts; raises ValueError or TypeError when it is not."""
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
    except Exception:  # noqa: BLE001 - a user's exception may fail to describe itself
        message = "(its message cannot be read)"
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return text[:MAX_ERROR_CHARACTERS].replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
