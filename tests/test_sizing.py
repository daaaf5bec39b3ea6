"""docs/sizing.md says what its measurements give, and the arithmetic of its model is right."""

import pytest

from bench.model import DOC, PLANS, Plan, filled, line, tables, with_quiet


def test_the_tables_of_the_document_are_those_of_the_measurements() -> None:
    text = DOC.read_text()
    found = tables()
    assert all(f"<!-- table {name} -->" in text for name in found)
    assert filled(text, found) == text, "run `python -m bench.model`"


def test_a_line_is_a_fixed_part_and_a_part_each() -> None:
    model = line({1_000: 12.0, 2_000: 14.0, 100_000: 1_000.0})
    assert (model.fixed, model.each) == (10.0, 0.002)
    assert model.at(3_000) == 16.0
    assert line({1_000: 12.0, 2_000: 14.0, 4_000: 20.0}, largest=True).each == 0.003
    assert line({1_000: 12.0, 1_500: 99.0, 2_000: 14.0, 4_000: 20.0}).each == 0.002
    assert line({500: 10.0}).at(1_000) == 20.0
    assert line({500: 10.0, 1_000: 9.0}).each == 0, "nothing costs less than nothing"


def test_a_plan_is_sums_that_can_be_done_by_hand() -> None:
    each = {"processor time, match": 40e-6, "processor time, normalise": 10e-6, "Kafka, `agoda_nrt`": 400.0,
            "processor time, gather": 4e-6, "`activity`, maintained": 50.0, "`activity`": 80.0,
            "processor time, close, Spark": 36e-6}  # fmt: skip
    plan = Plan(864_000_000, each)
    assert plan.peak == pytest.approx(30_000)
    assert plan.cores("match") == pytest.approx(2)
    assert plan.cores("relay") is None
    assert plan.state_rows == pytest.approx(108_000_000)
    assert plan.groups == 5
    assert plan.partitions == 4
    assert Plan(1_000, {}).partitions is None
    assert plan.kafka("agoda_nrt") == pytest.approx(12e6)
    assert plan.stored("activity") == pytest.approx(69.12e9)
    assert plan.close_hours("spark") == pytest.approx(8.64)
    assert PLANS == (100_000_000, 5_000_000_000)


def test_closes_of_a_machine_at_rest_come_first() -> None:
    quiet = {"1,000,000": {"reco daily --engine spark": [[60.4, 110.5, 9]], "bare DuckDB": [[1, 1, 1]]}}
    runs = with_quiet({"10": {"events": 20, "cpu": {"close-spark": 5.0}}}, quiet)
    assert runs["1000000"] == {"events": 1_980_000, "cpu": {"close-spark": 110.5}}
    assert runs["10"]["cpu"] == {"close-spark": 5.0}
    busy = {"1000000": {"events": 1_979_000, "cpu": {"close-spark": 200.0, "match": 1.0}}}
    assert with_quiet(busy, quiet)["1000000"] == {"events": 1_979_000, "cpu": {"close-spark": 110.5, "match": 1.0}}
