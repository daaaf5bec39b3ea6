"""Puts one mutant at a time in place of its rule, in this process and this Spark session, and runs the rules' tests."""

import ast
import importlib
import inspect
import pkgutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from io import StringIO
from pathlib import Path
from types import ModuleType

import reco_rules
from jobs.common.session import quick_plans
from tests.mutation.equivalents import EQUIVALENT
from tests.mutation.mutants import Mutant, mutants
from tests.reco_rules import test_chain, test_days, test_events, test_pairs, test_price, test_silence, test_waiting
from tests.reco_rules.engine import Engine

Test = Callable[..., None]

#: Which tests most likely notice a change of a module; all others follow.
_FIRST: dict[str, tuple[Test, ...]] = {
    "anomalies": (test_chain.test_anomalies, test_chain.test_ids_differ_by_date_key_and_type),
    "clock": (test_pairs.test_clock,),
    "delays": (test_pairs.test_delay_of_nothing_is_none,),
    "duplicates": (test_pairs.test_duplicated_is_never_null, test_events.test_money_between_duplicates),
    "existence": (test_pairs.test_existence, test_pairs.test_missing_is_never_null),
    "explain": (test_chain.test_explanations, test_silence.test_silence_is_explained),
    "identity": (test_pairs.test_identity,),
    "latest": (
        *(test_days.test_latest_versions, test_events.test_kept_duplicates_are_sorted_events),
        *(test_events.test_duplicates, test_events.test_delays, test_days.test_history),
    ),
    "money": (
        *(test_price.test_rate_that_holds, test_price.test_rates_are_one_a_date_and_currency),
        *(test_price.test_amounts_in_usd, test_price.test_both_sides_are_priced_by_agodas_date),
    ),
    "ownership": (
        *(test_days.test_hours_that_a_day_needs, test_days.test_day_of_each_event, test_days.test_redeliveries),
        test_days.test_keys_across_midnight,
    ),
    "policy": (test_chain.test_built_in_policy_is_the_contracts, test_chain.test_policy_of_each_row),
    "price": (
        *(test_price.test_price_differs, test_price.test_tolerance, test_price.test_rate_missing),
        *(test_price.test_tolerance_of_a_missing_side_is_null,),
    ),
    "risk": (test_pairs.test_amount_at_risk, test_pairs.test_severity),
    "silence": (
        *(test_silence.test_usual_gaps, test_silence.test_limits, test_silence.test_silence),
        test_silence.test_what_a_silence_holds,
    ),
    "skew": (test_pairs.test_skew,),
    "status": (test_pairs.test_status_differs,),
    "verdict": (test_pairs.test_outcomes,),
    "waiting": (
        *(test_waiting.test_how_long_each_key_waits, test_waiting.test_only_what_an_answer_can_mend_pends),
        test_waiting.test_what_an_event_answers,
    ),
}


def all_mutants() -> list[Mutant]:
    """Every mutant of every module of the rules that is not known to be equivalent."""
    found = [mutant for name, module in _modules().items() for mutant in mutants(name, _source(module))]
    names = {mutant.name for mutant in found}
    unknown = sorted(set(EQUIVALENT) - names)
    assert not unknown, f"tests/mutation/equivalents.py names what is no mutant any more: {unknown}"
    return [mutant for mutant in found if mutant.name not in EQUIVALENT]


def survivors(engine: Engine, chosen: Iterable[Mutant], told: Callable[[str], None] = print) -> list[Mutant]:
    """The mutants that no test notices."""
    alive = []
    with quick_plans(engine.session) if engine.is_spark else nullcontext():
        for mutant in chosen:
            started = time.monotonic()
            killer = _killer(engine, mutant)
            took = f"{time.monotonic() - started:.1f} s"
            told(f"{'caught  ' if killer else 'SURVIVES'} {took:>7} {mutant.name}{f'  by {killer}' if killer else ''}")
            if killer is None:
                alive.append(mutant)
    return alive


def unmutated_failures(engine: Engine) -> list[str]:
    """Tests that fail as things are: with one of them every mutant would look caught."""
    return [test.__name__ for test in _tests() if _notices(test, engine)]


def _killer(engine: Engine, mutant: Mutant) -> str | None:
    first = _FIRST.get(mutant.module, ())
    order = [*first, *[test for test in _tests() if test not in first]]
    with _in_place(mutant) as broken:
        if broken:
            return "its import"
        return next((test.__name__ for test in order if _notices(test, engine)), None)


def _notices(test: Test, engine: Engine) -> bool:
    wants_engine = "engine" in inspect.signature(test).parameters
    try:
        with redirect_stdout(StringIO()):
            test(engine) if wants_engine else test()
    except Exception:
        return True
    return False


def _tests() -> list[Test]:
    """The rules' tests that take an engine or nothing."""
    found = []
    for module in (test_pairs, test_price, test_days, test_events, test_chain, test_silence, test_waiting):
        for name, test in vars(module).items():
            if name.startswith("test_") and set(inspect.signature(test).parameters) <= {"engine"}:
                found.append(test)
    return found


@contextmanager
def _in_place(mutant: Mutant) -> Iterator[bool]:
    """The mutant's module and all that import it made anew; yields whether that failed. Afterwards all is as before."""
    modules = _modules()
    before = {name: dict(vars(module)) for name, module in modules.items()}
    try:
        try:
            for name in _in_import_order(modules):
                source = mutant.source if name == mutant.module else _source(modules[name])
                # A file name of its own, so that coverage does not count a mutant's lines.
                exec(compile(source, f"<mutant of {name}>", "exec"), vars(modules[name]))
        except Exception:
            yield True
        else:
            yield False
    finally:
        for name, module in modules.items():
            vars(module).clear()
            vars(module).update(before[name])


def _modules() -> dict[str, ModuleType]:
    names = sorted(info.name for info in pkgutil.iter_modules(reco_rules.__path__))
    for name in names:
        importlib.import_module(f"reco_rules.{name}")
    return {name: sys.modules[f"reco_rules.{name}"] for name in names}


def _source(module: ModuleType) -> str:
    assert module.__file__ is not None
    return Path(module.__file__).read_text()


def _in_import_order(modules: dict[str, ModuleType]) -> list[str]:
    needs = {name: _imported(_source(module)) & set(modules) for name, module in modules.items()}
    order: list[str] = []
    while len(order) < len(modules):
        order += [name for name in sorted(needs) if name not in order and needs[name] <= set(order)]
    return order


def _imported(source: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "reco_rules":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("reco_rules."):
            found.add(node.module.removeprefix("reco_rules."))
    return found
