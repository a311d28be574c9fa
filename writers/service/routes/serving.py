"""What the routes have in common: the parts of the service, and what they document."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request

from writers.service.database import Database
from writers.service.metrics import Metrics
from writers.service.models import ProblemBody
from writers.service.problems import MEDIA_TYPE
from writers.settings import WritersSettings


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of the service."""

    settings: WritersSettings
    database: Database
    metrics: Metrics


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


Service = Annotated[Parts, Depends(_parts)]


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Document the problems that a route answers with."""
    content = {MEDIA_TYPE: {"schema": ProblemBody.model_json_schema()}}
    return {status: {"description": "A problem (RFC 9457)", "content": content} for status in statuses}
