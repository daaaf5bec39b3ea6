"""One supplier: how its last close went, what is unresolved, its days, feeds and policy."""

from typing import Any

from jobs.console import over_time, reading
from jobs.console.exceptions import cube
from jobs.console.limited import limited
from jobs.console.tables import Tables
from jobs.console.users import User


def scorecard(tables: Tables, user: User, supplier: str) -> dict[str, Any] | None:
    """Everything about one supplier; None where there is none for this user.

    Beside its row of `reading.suppliers`: `by_type` (unresolved exceptions), `days` (breaks and money at risk by
    closed day), `feeds`, `policy` in force and its `history`.
    """
    card = next((one for one in reading.suppliers(tables, user) if one["supplier_id"] == supplier), None)
    if card is None:
        return None
    unresolved = limited(cube(tables).lazy(), user).filter(supplier_id=supplier).collect()
    return {
        **card,
        "by_type": reading.sums(unresolved, ["anomaly_type"]),
        "days": over_time.of_supplier(tables, user, supplier),
        "feeds": [one for one in reading.feeds(tables, user) if one["supplier_id"] == supplier],
        "policy": reading.policy(tables, supplier),
        "history": reading.policy_history(tables, user, supplier),
    }
