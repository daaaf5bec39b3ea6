"""The rules speak the language of the engine in use, and Spark's again afterwards."""

from types import SimpleNamespace

import pytest
from pyspark.sql import functions

from reco_rules.engine import F, in_use


def test_names_are_of_the_engine_in_use() -> None:
    other = SimpleNamespace(functions=SimpleNamespace(col=lambda name: f"the other's {name}"))

    def fail() -> None:
        with in_use(other):
            assert F.col("a") == "the other's a"
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fail()
    assert F.col is functions.col
