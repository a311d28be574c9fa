"""Which tests may import which: each layer stands on its own, and on tests/support."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
LAYERS = (
    *("unit", "contract", "integration", "acceptance", "packaging", "snippets"),
    *("faults", "mutants", "handover", "containers", "matrix"),
)
ABOVE_ALL = ("sample",)
"""Draws from the faults and from the mutants, and nothing imports it."""


def imported(file: Path) -> Iterator[str]:
    """Yield the modules of ours that `file` imports, without `tests.`."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name.removeprefix("tests.") for name in names if name.startswith("tests."))


@cache
def imports(folder: str) -> list[tuple[str, str]]:
    """Return each import of ours in `folder`: the file, and the module."""
    files = sorted((TESTS / folder).rglob("*.py"))
    assert files
    return [(str(file.relative_to(TESTS)), name) for file in files for name in imported(file)]


def test_every_folder_of_tests_is_a_layer_or_their_support() -> None:
    folders = {path.name for path in TESTS.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    assert folders == {*LAYERS, *ABOVE_ALL, "support"}


@pytest.mark.parametrize("layer", [*LAYERS, "support"])
def test_a_layer_imports_only_itself_and_what_all_share(layer: str) -> None:
    assert not [(file, name) for file, name in imports(layer) if name.split(".")[0] not in {layer, "support"}]


@pytest.mark.parametrize("layer", [*LAYERS, *ABOVE_ALL, "support"])
def test_nothing_imports_a_file_of_tests_or_of_fixtures(layer: str) -> None:
    def holds_tests(name: str) -> bool:
        return any(part == "conftest" or part.startswith("test_") for part in name.split("."))

    assert not [(file, name) for file, name in imports(layer) if holds_tests(name)]
