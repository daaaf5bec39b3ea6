"""Every mutant of the rules in one session: on DuckDB where pyspark is not installed, else on Spark (`make mutate`).

DuckDB takes seconds where Spark takes minutes, so it goes first, and Spark only sees what its tests let live.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

ON_DUCKDB = find_spec("pyspark") is None
if ON_DUCKDB:
    from tests import duckdb_engine  # puts itself in the place of `pyspark`, so it comes before whatever imports that

from tests.mutation.mutants import Mutant  # noqa: E402
from tests.mutation.runner import all_mutants, survivors, unmutated_failures  # noqa: E402
from tests.reco_rules.engine import Engine  # noqa: E402


def main(options: argparse.Namespace) -> int:
    """Exit code 0 where every mutant is caught or handed on, 1 where one survives or the tests fail as things are."""
    chosen = [mutant for mutant in all_mutants() if options.name in mutant.name]
    if options.only_those_in:
        names = set(options.only_those_in.read_text(encoding="utf-8").splitlines())
        chosen = [mutant for mutant in chosen if mutant.name in names]
    alive: list[Mutant] = []
    if chosen:
        with _engine() as engine:
            failing = unmutated_failures(engine)
            if failing:
                print(f"Without any mutant these tests fail: {', '.join(failing)}.", file=sys.stderr)
                return 1
            alive = survivors(engine, chosen, lambda line: print(line, flush=True))
    print(f"{len(chosen)} mutants on {'DuckDB' if ON_DUCKDB else 'Spark'}, {len(alive)} survive")
    for mutant in alive:
        print(f"  reco_rules/{mutant.module}.py:{mutant.line} {mutant.name}")
    if options.hand_on:
        options.hand_on.parent.mkdir(parents=True, exist_ok=True)
        options.hand_on.write_text("".join(f"{mutant.name}\n" for mutant in alive), encoding="utf-8")
        return 0
    return 1 if alive else 0


@contextmanager
def _engine() -> Iterator[Engine]:
    if ON_DUCKDB:
        yield Engine(duckdb_engine.new_session())
        return
    from jobs.common.session import local_session
    from jobs.common.settings import Settings, Spark

    spark = local_session("mutation", Settings(spark=Spark(master="local[2]", shuffle_partitions=1)))
    try:
        yield Engine(spark)
    finally:
        spark.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("name", nargs="?", default="", help="only mutants with this in their name, like `ownership.`")
    parser.add_argument("--hand-on", type=Path, metavar="FILE", help="write the survivors' names there, for Spark")
    parser.add_argument("--only-those-in", type=Path, metavar="FILE", help="only mutants named there")
    sys.exit(main(parser.parse_args()))
