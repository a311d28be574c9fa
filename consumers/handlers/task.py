"""What passes between handlers and the rest: a task, and what may be its result. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from uuid import UUID

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"


@dataclass(frozen=True, slots=True)
class Task:
    """A claimed task as its handler sees it; `version` is the claim's, and with `claimed_by` its fencing token."""

    id: UUID
    type: str
    payload: Any = field(repr=False)
    version: int
    attempts: int
    claimed_by: str
