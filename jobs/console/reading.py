"""What the pages tell of feeds, stream, closes, drift, quarantine and suppliers; limited to a user's suppliers."""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from jobs.common import policies
from jobs.common.progress_file import missing, read_all
from jobs.console.exceptions import AGES, cube, whole
from jobs.console.limited import limited
from jobs.console.over_time import Part, over_time
from jobs.console.tables import Tables
from jobs.console.users import User
from schemas.tables import TABLES

_EXACT = pl.Decimal(38, 6)
_OF_TOTALS = ("keys_in", "matched", "mismatched", "missing", "amount_in_usd", "matched_usd", "mismatched_usd",
              "missing_usd")  # fmt: skip


def overview(tables: Tables, user: User, by: Part = "severity") -> dict[str, Any]:
    """Money at risk of what is unresolved, in all and by supplier, type, severity, state and age."""
    number, cubed = whole(tables).cube(datetime.now(UTC))
    key = ("overview", number, user.suppliers)
    told: dict[str, Any] = tables.recent.get(key, lambda: _overview(limited(cubed.lazy(), user).collect()))
    return {**told, "over_time": over_time(tables, user, by)}


def _overview(rows: pl.DataFrame) -> dict[str, Any]:
    return {
        "total": sums(rows, []),
        "by_severity": sums(rows, ["severity"]),
        "by_type": sums(rows, ["anomaly_type"]),
        "by_supplier": sums(rows, ["supplier_id"]),
        "by_state": sums(rows, ["state"]),
        "by_age": [{**row, "name": AGES[row["age"]][0]} for row in sorted(sums(rows, ["age"]), key=lambda r: r["age"])],
    }


def sums(rows: pl.DataFrame, by: list[str]) -> list[dict[str, Any]]:
    """Exceptions, money and what is unpriced of rows of the cube, in all or by columns of it, the dearest first."""
    each = [pl.col("exceptions").sum(), pl.col("amount_at_risk_usd").sum(), pl.col("unpriced").sum()]
    if not by:
        return rows.select(each).to_dicts()
    return rows.group_by(by).agg(each).sort("amount_at_risk_usd", *by, descending=[True, False]).to_dicts()


def feeds(tables: Tables, user: User) -> list[dict[str, Any]]:
    """Each supplier's newest event of either side: own time, publish time; and since when it is silent."""
    rows = limited(tables.made_behind("feeds", ("activity",), lambda _: _newest(tables)).lazy(), user).collect()
    silent = _silent(tables)
    return [
        {**row, "silent_since": silent.get(row["supplier_id"])} for row in rows.sort("supplier_id", "source").to_dicts()
    ]


def _newest(tables: Tables) -> pl.DataFrame:
    found = tables.scan("activity")
    if found is None:
        times = dict.fromkeys(("event_time", "kafka_time", "ingested_at"), pl.Datetime("us", "UTC"))
        names = dict.fromkeys(("supplier_id", "source"), pl.String())
        return pl.DataFrame(schema=pl.Schema({**names, **times, "deliveries": pl.Int64()}))
    newest = pl.col("event_time", "kafka_time", "ingested_at").max()
    return found.group_by("supplier_id", "source").agg(newest, pl.len().alias("deliveries")).collect(engine="streaming")


def _silent(tables: Tables) -> dict[str, datetime]:
    found = tables.scan("nrt_exceptions")
    if found is None:
        return {}
    rows = found.filter((pl.col("anomaly_type") == "FEED_SILENT") & (pl.col("state") != "RESOLVED"))
    return dict(rows.select("supplier_id", "known_since").collect().iter_rows())


def stream(tables: Tables) -> list[dict[str, Any]]:
    """What each query of the stream told last of itself."""
    told = read_all(tables.settings)
    unheard = missing(told, datetime.now(UTC))
    for one in told:
        if one["query"] != "normalise":
            one["why"] = one["why"] or unheard.get(one["group"])
    return told


def closes(tables: Tables, user: User) -> list[dict[str, Any]]:
    """Every close, the newest first. A user limited to suppliers gets sums over these, made of the control totals."""
    rows = tables.made("closes", ("closes",), lambda: _closes(tables))
    return rows if user.suppliers is None else [_limited_close(row, user) for row in rows]


def _closes(tables: Tables) -> list[dict[str, Any]]:
    found = tables.scan("closes")
    return [] if found is None else found.sort("finished_at", descending=True).collect().to_dicts()


def _limited_close(row: dict[str, Any], user: User) -> dict[str, Any]:
    hidden = ("facts", "anomalies", "outcomes", "anomaly_counts", "amount_at_risk_usd", "changed_facts", "moved_usd")
    totals = [one for one in row["control_totals"] or [] if user.sees(one["supplier_id"])]
    return {**row, **dict.fromkeys(hidden), "control_totals": totals}


def close(tables: Tables, user: User, close_id: str) -> dict[str, Any] | None:
    """One close with its sums by side, what it changed, the drift it found and its data docs; None where unknown."""
    row = next((one for one in closes(tables, user) if one["close_id"] == close_id), None)
    if row is None:
        return None
    return {
        **row,
        "sides": _by_side(row["control_totals"] or []),
        "changes": _of_close(tables, user, "close_changes", row),
        "drift": _of_close(tables, user, "verdict_drift", row),
        "docs": user.sees_all and docs_folder(tables, row["reco_date"]) is not None,
    }


def _by_side(totals: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    sides: dict[str, dict[str, Any]] = {}
    for one in totals:
        sums = sides.setdefault(one["side"], {"side": one["side"], **dict.fromkeys(_OF_TOTALS, 0)})
        for name in _OF_TOTALS:
            sums[name] += one[name] or 0
    for sums in sides.values():
        sums["balances"] = sums["keys_in"] == sums["matched"] + sums["mismatched"] + sums["missing"] and Decimal(
            sums["amount_in_usd"]
        ) == Decimal(sums["matched_usd"]) + Decimal(sums["mismatched_usd"]) + Decimal(sums["missing_usd"])
    return [sides[name] for name in sorted(sides)]


def _of_close(tables: Tables, user: User, name: str, close: dict[str, Any]) -> list[dict[str, Any]]:
    found = tables.scan(name)
    if found is None:
        return []
    # By its day too, or a file of each day would be opened.
    of_close = found.filter(reco_date=close["reco_date"], close_id=close["close_id"])
    return limited(of_close, user).head(1_000).collect().to_dicts()


def docs_folder(tables: Tables, day: date) -> Path | None:
    """Where the close left its data docs; None where there are none on this machine."""
    if not tables.settings.is_local_lake:
        return None
    folder = Path(tables.settings.lake.root) / "_expectations" / day.isoformat()
    return folder if (folder / "index.html").exists() else None


def drift(tables: Tables, user: User, days: int = 7) -> list[dict[str, Any]]:
    """Verdicts of the stream by cause, beside the closes of so many newest days."""
    made = tables.made(f"drift of {days}", ("closes", "verdict_drift"), lambda: _drift(tables, days))
    rows = limited(made.lazy(), user).group_by("reco_date", "cause").agg(pl.col("verdicts").sum()).collect()
    return rows.sort("reco_date", "verdicts", descending=True).to_dicts()


def _drift(tables: Tables, days: int) -> pl.DataFrame:
    found, closed = tables.scan("verdict_drift"), tables.scan("closes")
    if found is None or closed is None:
        names = dict.fromkeys(("supplier_id", "cause"), pl.String())
        return pl.DataFrame(schema=pl.Schema({"reco_date": pl.Date(), **names, "verdicts": pl.Int64()}))
    newest = closed.select("reco_date").unique().collect()["reco_date"].top_k(days)
    # A range, by which the files of all other days are left out; there is one a day, for years.
    chosen = found.filter(pl.col("reco_date") >= newest.min())
    return chosen.group_by("reco_date", "supplier_id", "cause").agg(pl.col("verdicts").sum()).collect()


def policy(tables: Tables, supplier: str | None) -> dict[str, Any]:
    """What holds for the supplier now, and the version it is of."""
    version, known = in_force(tables)
    return {"policy_version": version, "listed": supplier in known, **policies.effective(known, supplier).model_dump()}


def in_force(tables: Tables) -> tuple[int, policies.Policies]:
    """The version of the policies in force, and they."""
    return tables.made("policies", ("policies",), lambda: policies.current_policies(tables.settings))


def policy_history(tables: Tables, user: User, supplier: str) -> list[dict[str, Any]]:
    """What changed for the supplier with each version, the newest first.

    A user limited to suppliers is not told of versions that changed others only.
    """
    versions = tables.made("policy history", ("policies",), lambda: policies.history(tables.settings))
    told, before = [], policies.policies_of(tables.settings, 0)
    for one in reversed(versions):
        now = policies.policies_of(tables.settings, one.policy_version)
        old, new = (policies.effective(known, supplier).model_dump() for known in (before, now))
        changed = [(key, old[key], new[key]) for key in new if old[key] != new[key]]
        if changed or user.sees_all:
            told.append({"policy_version": one.policy_version, "applied_at": one.applied_at, "changes": changed})
        before = now
    return told[::-1]


def suppliers(tables: Tables, user: User) -> list[dict[str, Any]]:
    """Each supplier's scorecard: of the newest closed day its keys, matched and money, and what is unresolved.

    The close that ended last may be of an older day, which late events had made stale.
    """
    newest = max(closes(tables, user), key=_by_day, default=None)
    cards: dict[str, dict[str, Any]] = {}

    def card_of(supplier: str) -> dict[str, Any]:
        blank = {"agoda": None, "supplier": None, "exceptions": 0, "amount_at_risk_usd": Decimal(0), "unpriced": 0}
        return cards.setdefault(supplier, {"supplier_id": supplier, **blank})

    for one in (newest or {}).get("control_totals") or []:
        card_of(one["supplier_id"])[one["side"].lower()] = one
    for row in sums(limited(cube(tables).lazy(), user).collect(), ["supplier_id"]):
        card_of(row["supplier_id"]).update(row)
    for one in feeds(tables, user):
        card_of(one["supplier_id"])
    version, known = in_force(tables)
    for card in cards.values():
        agoda = card["agoda"]
        card["matched_share"] = Decimal(agoda["matched"]) / agoda["keys_in"] if agoda and agoda["keys_in"] else None
        card["closed_date"] = newest["reco_date"] if newest else None
        card["mode"], card["policy_version"] = policies.effective(known, card["supplier_id"]).mode, version
    return [cards[name] for name in sorted(cards)]


def _by_day(close: dict[str, Any]) -> tuple[bool, date, int]:
    return not close["provisional"], close["reco_date"], close["revision"]


def system(tables: Tables) -> list[dict[str, Any]]:
    """Each table of the lake: what it holds, whose it is, version, rows, bytes."""
    return [_table(tables, name) for name in TABLES]


def _table(tables: Tables, name: str) -> dict[str, Any]:
    described, found = TABLES[name], tables.table(name)
    told: dict[str, Any] = {"path": described.path, "comment": described.comment, "owner": described.owner}
    if found is None:
        return {**told, "version": None, "files": None, "rows": None, "bytes": None}

    def counted() -> tuple[int, int, int]:
        files = pl.DataFrame(found.get_add_actions(flatten=True))
        rows = files["num_records"].sum() if "num_records" in files.columns else 0
        return files.height, int(rows or 0), int(files["size_bytes"].sum())

    count, rows, size = tables.made(f"files of {name}", (name,), counted)
    return {**told, "version": found.version(), "files": count, "rows": rows, "bytes": size}
