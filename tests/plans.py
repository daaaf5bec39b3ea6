"""How the plans of a handful of rows are run: not compiled, and planned once.

Where RECO_COMPILED=1 says so (`make test-long`) they are run as anywhere else; the demo's always are.
"""

import os

#: Interpreting a plan takes two thirds of the time of compiling it, and of that planning it once takes nine tenths.
INTERPRETED = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
}


def conf_of_plans() -> dict[str, str]:
    """What a session that sees small data only is to be told: Spark's settings by name."""
    return {} if os.environ.get("RECO_COMPILED") else dict(INTERPRETED)
