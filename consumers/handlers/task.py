"""A task as its handler gets it, and the type of its result. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from uuid import UUID

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"


@dataclass(frozen=True, slots=True)
class Task:
    """A claimed task; `version` is the claim's own version and the fencing token of the handler's transaction."""

    id: UUID
    type: str
    payload: Any = field(repr=False)
    version: int
    attempts: int
    claimed_by: str
