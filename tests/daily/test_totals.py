"""Sums that are more than the tables hold end a close before it writes anything."""

from decimal import Decimal

import pytest
from pyspark.sql import Row

from jobs.common.errors import FAILED, UserError
from jobs.daily import totals
from tests.daily.small_lake import DAY


def side(prefix: str, keys: int, usd: str | None) -> dict[str, object]:
    return {f"{prefix}_keys": keys, f"{prefix}_usd": usd and Decimal(usd), f"{prefix}_key_sum": 0}


@pytest.mark.parametrize(
    ("usd", "told"), [("9999999999999999999999.999999", None), ("10000000000000000000000.000000", "1.000E+22 USD")]
)
def test_a_sum_that_no_column_holds_is_one_sentence(usd: str, told: str | None) -> None:
    came_in = [Row(supplier_id="SUP-1", **side("agoda", 0, None), **side("supplier", 200, usd))]
    profile = totals.assemble(came_in, [])
    [total] = profile.totals
    total.mismatched, total.mismatched_usd = total.keys_in, total.amount_in_usd
    if told is None:
        totals.require_balance(DAY, profile.totals)
        return
    with pytest.raises(UserError, match=r"2026-03-10 cannot be written: .* SUP-1, side SUPPLIER, add up to") as found:
        totals.require_balance(DAY, profile.totals)
    assert found.value.exit_code == FAILED
    assert told in str(found.value)
    assert "under 1E+22 USD" in str(found.value)
