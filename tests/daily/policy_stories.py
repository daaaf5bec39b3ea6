"""What a proposed policies file does to suppliers of one closed day: a story each, with the change expected."""

from datetime import timedelta
from typing import Any

import yaml

from tests.daily.small_lake import NOON, event

NOW = NOON + timedelta(days=2)
LATE = NOON.replace(hour=23, minute=50)


def skewed(supplier: str, *minutes: int) -> list[dict[str, Any]]:
    """SUPPLIER dates it so much later than AGODA, and publishes it at once."""
    return [
        event(side, f"BK-{late}", event_time=NOON + timedelta(minutes=after), supplier_id=supplier)
        for late in minutes
        for side, after in (("AGODA", 0), ("SUPPLIER", late))
    ]


def priced(supplier: str, *amounts: int) -> list[dict[str, Any]]:
    """AGODA says 100 USD; 1 USD is allowed then, as long as nothing else is proposed."""
    return [
        event(side, f"BK-{amount}", minor, supplier_id=supplier)
        for amount in amounts
        for side, minor in (("AGODA", 10_000), ("SUPPLIER", amount))
    ]


def over_midnight(supplier: str) -> list[dict[str, Any]]:
    return [
        event("AGODA", "BK-MIDNIGHT", event_time=LATE, supplier_id=supplier),
        event("SUPPLIER", "BK-MIDNIGHT", event_time=LATE + timedelta(minutes=40), supplier_id=supplier),
    ]


#: Each supplier is one story: its events, what the file proposes for it, and by kind what is then gained, its USD,
#: lost, its USD, reweighed; and how many of its keys flip.
Expected = dict[str, tuple[int, str, int, str, int]]
STORIES: dict[str, tuple[list[dict[str, Any]], str, Expected, int]] = {
    "SUP-SAME": ([*priced("SUP-SAME", 10_080, 10_300)], "{}", {}, 0),
    "SUP-LOOSER": (
        priced("SUP-LOOSER", 10_080, 10_120, 10_150, 10_199, 10_200, 10_201),
        '{price: {abs_tol_usd: "2"}}',
        {"PRICE_MISMATCH": (0, "0", 4, "6.69", 0)},
        4,
    ),
    "SUP-TIGHTER": (
        [*priced("SUP-TIGHTER", 10_050, 10_051, 10_120)],
        '{price: {pct_tol: "0.005"}}',
        {"PRICE_MISMATCH": (1, "0.51", 0, "0", 0)},
        1,
    ),
    "SUP-SKEW": (
        skewed("SUP-SKEW", 16, 30, 31),
        "{allowed_skew: 30m}",
        {"TIMESTAMP_SKEW": (0, "0", 2, "0", 0)},
        2,
    ),
    "SUP-DELAY": (
        [*priced("SUP-DELAY", 10_000)],
        "{max_delay: 4s}",
        {"DELAYED_AGODA": (1, "0", 0, "0", 0), "DELAYED_SUPPLIER": (1, "0", 0, "0", 0)},
        1,
    ),
    "SUP-WEIGHT": (
        [*priced("SUP-WEIGHT", 10_199, 10_200)],
        '{severity: {high_usd: "2"}}',
        {"PRICE_MISMATCH": (0, "0", 0, "0", 1)},
        0,
    ),
    # The pair is one fact of the first day by a grace of 1h. By 35m its other side is of the next.
    "SUP-GRACE": (
        over_midnight("SUP-GRACE"),
        "{grace: 35m}",
        {"MISSING_SUPPLIER": (1, "100", 0, "0", 0), "TIMESTAMP_SKEW": (0, "0", 1, "0", 0)},
        1,
    ),
    # Not listed in the file: the defaults that it proposes, of which the others have their own.
    "SUP-REST": (
        [*over_midnight("SUP-REST"), *priced("SUP-REST", 10_080)],
        "",
        {
            "MISSING_SUPPLIER": (1, "100", 0, "0", 0),
            "PRICE_MISMATCH": (1, "0.8", 0, "0", 0),
            "TIMESTAMP_SKEW": (0, "0", 1, "0", 0),
        },
        2,
    ),
}
STAYS = {"grace": "1h", "price": {"pct_tol": "0.01"}}


def proposal() -> str:
    listed = {}
    for name, (_, policy, _, _) in STORIES.items():
        if policy:
            own = yaml.safe_load(policy)
            listed[name] = {**STAYS, **own, "price": {**STAYS["price"], **own.get("price", {})}}  # type: ignore[dict-item]
    defaults = {"mode": "DAILY_ONLY", "grace": "30m", "price": {"pct_tol": "0.005"}}
    return yaml.safe_dump({"version": 1, "defaults": defaults, "suppliers": listed})
