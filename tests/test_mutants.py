from functools import cache

import pytest

import mutants
from mutants import MUTANTS

NAMES = [f"{mutant.file}: {mutant.name}" for mutant in MUTANTS]


@cache
def undamaged(tests):
    return mutants.verdict(mutants.run(tests))


@pytest.mark.parametrize("mutant", MUTANTS, ids=NAMES)
def test_damage_still_has_its_place(mutant):
    assert mutants.damaged(mutant).count(mutant.new) >= 1
    assert (mutants.ROOT / "tests" / mutant.tests.split("::")[0]).is_file()


def test_text_that_is_gone_is_refused():
    gone = mutants.Mutant("x", "heads/compose.py", "no such text", "", "heads/test_compose.py")
    with pytest.raises(ValueError, match=r"^heads/compose.py: 'no such text' must occur once; fou"):
        mutants.damaged(gone)


def test_names_are_distinct():
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.slow
def test_run_that_reaches_no_test_is_no_verdict():
    # A copy that is not imported, or a test that is gone, must not count as caught.
    with pytest.raises(RuntimeError, match=r"^the run ended with 4"):
        mutants.verdict(mutants.run("heads/test_compose.py::test_no_such"))


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=NAMES)
def test_damage_is_noticed(mutant):
    assert undamaged(mutant.tests) == "passed"
    assert mutants.verdict(mutants.run(mutant.tests, mutant)) == "failed"
