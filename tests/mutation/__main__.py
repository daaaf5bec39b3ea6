"""`python -m tests.mutation [SUBSTRING]`: every mutant of the rules (whose name has SUBSTRING), one Spark session."""

import sys

from jobs.common.session import local_session
from jobs.common.settings import Settings, Spark
from tests.mutation.runner import all_mutants, survivors, unmutated_failures
from tests.reco_rules.engine import Engine


def main(wanted: str = "") -> int:
    """Exit code 0 where every mutant is caught, 1 where one survives or the tests fail as things are."""
    chosen = [mutant for mutant in all_mutants() if wanted in mutant.name]
    spark = local_session("mutation", Settings(spark=Spark(master="local[2]", shuffle_partitions=1)))
    try:
        engine = Engine(spark)
        failing = unmutated_failures(engine)
        if failing:
            print(f"Without any mutant these tests fail: {', '.join(failing)}.", file=sys.stderr)
            return 1
        alive = survivors(engine, chosen, lambda line: print(line, flush=True))
    finally:
        spark.stop()
    print(f"{len(chosen)} mutants, {len(chosen) - len(alive)} caught, {len(alive)} survive")
    for mutant in alive:
        print(f"  reco_rules/{mutant.module}.py:{mutant.line} {mutant.name}")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
