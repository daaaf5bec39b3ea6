"""How the plans of a handful of rows are run: not compiled, but where RECO_COMPILED=1 says so (`make test-long`)."""

import os

#: Interpreting a plan takes two thirds of the time of compiling it.
INTERPRETED = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}


def conf_of_plans() -> dict[str, str]:
    """What a session that sees small data only is to be told: Spark's settings by name."""
    return {} if os.environ.get("RECO_COMPILED") else dict(INTERPRETED)
