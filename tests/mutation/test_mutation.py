"""The rules' tests notice changed rules: a sample here, all of them in `make mutate`."""

import random

from tests.mutation.mutants import mutants
from tests.mutation.runner import all_mutants, survivors
from tests.reco_rules.engine import Engine


def test_a_sample_is_caught(engine: Engine) -> None:
    assert survivors(engine, random.Random(3).sample(all_mutants(), 4)) == []


def test_what_is_changed() -> None:
    source = """
'''Says > 1.'''
def rule(x: int | None) -> bool:
    '''Is 1 < 2.'''
    return (x > 5) & F.greatest(x)
"""
    assert [mutant.name for mutant in mutants("m", source)] == [
        "m.rule: (x > 5) & F.greatest(x) -> (x > 5) | F.greatest(x)",
        "m.rule: x > 5 -> x >= 5",
        "m.rule: 5 -> 6",
        "m.rule: 5 -> 4",
        "m.rule: F.greatest -> F.least",
    ]
