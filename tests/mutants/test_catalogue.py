"""The mutants fit the sources as they are now; whether tests notice them is for `make mutants` to say."""

from pathlib import Path

import pytest

from tests.mutants.catalogue import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_text_that_a_mutant_replaces_occurs_once_and_its_tests_exist(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    assert text.count(mutant.old) == 1, mutant.old
    if mutant.file.endswith(".py"):
        compile(text.replace(mutant.old, mutant.new), mutant.file, "exec")
    assert mutant.tests
    for named in mutant.tests:
        file, _, test = named.partition("::")
        assert f"def {test}" in (ROOT / file).read_text(encoding="utf-8") if test else (ROOT / file).is_file(), named
