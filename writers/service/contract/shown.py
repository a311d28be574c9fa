"""Tasks as they are shown: answers made of the JSON text that Postgres gives. Pure.

The text is not parsed: a payload may hold numbers that Python would round, and nest deeper than it reads.
"""

import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus

from starlette.responses import Response

NOBODY = "null"


def task(shown: str, holder: str | None) -> str:
    """Return a task's JSON object with its member `locked_by`."""
    return f'{shown.rstrip().removesuffix("}")},"locked_by":{holder or NOBODY}}}'


def page(tasks: Iterable[str], following: str | None) -> str:
    """Return a page of tasks."""
    return f'{{"tasks":[{",".join(tasks)}],"next":{json.dumps(following)}}}'


def etag(version: int) -> str:
    """Return the ETag of a task's version."""
    return f'"{version}"'


def answer(text: str, headers: Mapping[str, str], status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Return JSON text as a response."""
    return Response(text, status, headers, media_type="application/json")
