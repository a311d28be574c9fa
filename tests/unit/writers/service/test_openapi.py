"""What the service describes: its examples are valid, and every problem that it answers with is documented."""

import ast
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

from tests.unit.docs.markdown import ROOT, quoted, rows, section
from writers.service.app import create
from writers.service.contract import problems
from writers.service.contract.models import Filter, NewEventBody, NewTaskBody, Rescheduling
from writers.service.postgres.database import Database
from writers.settings import WritersSettings

SERVICE = ROOT / "writers" / "service"
SETTINGS = WritersSettings(database_url="postgresql://nobody@localhost/none", demo=True)
URL = SETTINGS.database_url.get_secret_value()
OPENAPI = create(SETTINGS, Database(lambda: URL, name="test", size=1, wait=1)).openapi()
MODELS = {model.__name__: model for model in (NewTaskBody, NewEventBody, Rescheduling, Filter)}


def examples(found: Any) -> Iterator[tuple[dict[str, Any], Any]]:  # noqa: ANN401
    """Yield every example that stands below `found`, with the schema that it is an example of."""
    match found:
        case {"schema": dict() as own, "example": example}:
            yield own, example
        case {"examples": [*given]}:
            yield from ((found, each) for each in given)
    for each in found.values() if isinstance(found, dict) else found if isinstance(found, list) else ():
        yield from examples(each)


def valid(schema: dict[str, Any], value: object) -> bool:
    root = {"components": OPENAPI["components"], **schema}
    return Draft202012Validator(root, validate_formats=True).is_valid(value)


def slugs_of_the_code() -> set[str]:
    """Return every slug that the service's code passes to a problem."""
    found = {"invalid"}
    for path in SERVICE.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Answered":
                slug = call.args[1]
                assert isinstance(slug, ast.Constant), f"{path.name}: a slug is written where it is used"
                found.add(str(slug.value))
    return found


def test_every_example_is_valid() -> None:
    found = list(examples(OPENAPI))
    assert len(found) > 20
    assert [example for schema, example in found if not valid(schema, example)] == []


@pytest.mark.parametrize("name", ["NewTaskBody", "NewEventBody", "Rescheduling"])
def test_every_example_of_a_request_is_taken(name: str) -> None:
    given = OPENAPI["components"]["schemas"][name]["examples"]
    assert given
    for each in given:
        MODELS[name].model_validate(each)


def test_every_route_says_who_may_ask_and_what_can_go_wrong() -> None:
    for path, methods in OPENAPI["paths"].items():
        for method, described in methods.items():
            if path != "/":
                assert described["security"], (method, path)
                assert {"401", "503"} <= set(described["responses"]), (method, path)


def test_every_problem_is_in_the_table_and_in_the_reference() -> None:
    documented = [(int(status), slug) for status, slug, _ in rows(problems.__doc__ or "")]
    assert {slug for _, slug in documented} == slugs_of_the_code()
    reference = section((ROOT / "docs" / "reference.md").read_text(encoding="utf-8"), "### Of the service")
    listed = [(int(status), *quoted(slug)) for status, slug, *_ in rows(reference) if status.isdigit()]
    assert listed == documented


@pytest.mark.parametrize(
    "value", [0, 1.5, "1700000000", "2030-01-01", "2030-01-01T00:00:00", "0001-01-01T00:00:00+14:00"]
)
def test_a_time_is_written_as_rfc_3339_has_it(value: object) -> None:
    with pytest.raises(ValueError, match="run_at") as refused:
        Rescheduling.model_validate({"run_at": value})
    assert re.search(r"write a time with its zone|years 1 to 9999", str(refused.value))
