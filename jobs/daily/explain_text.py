"""An explanation of one activity, and how a person reads it."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from jobs.common.margins import Rate, RuleResult, duration, instant
from jobs.common.output import plain_decimal, print_table, printable, say, shown


@dataclass(frozen=True)
class Delivery:
    """One record that silver received: `amount` in whole units of `currency`, `marks` what the verdict saw in it."""

    source: str
    version: int
    activity_type: str
    status: str
    amount: Decimal
    currency: str
    event_id: str
    event_time: datetime
    kafka_time: datetime
    reco_date: date
    topic: str
    partition: int
    offset: int
    marks: list[str]


@dataclass(frozen=True)
class Break:
    """One break: its money and weight."""

    anomaly_type: str
    severity: str
    amount_at_risk_usd: Decimal | None
    explanation: str


@dataclass(frozen=True)
class Published:
    """What the lake's facts say of the key, and whether that is all that they would say of it now."""

    close_id: str
    outcome: str
    anomaly_types: list[str]
    is_same: bool


@dataclass(frozen=True)
class Explanation:
    """Everything `reco explain` says.

    `policy`: the supplier's limits by column name. `erased`: the payloads that are no more, a sentence each.
    """

    supplier_id: str
    activity_id: str
    reco_date: date
    outcome: str
    anomaly_types: list[str]
    deliveries: list[Delivery]
    rules: list[RuleResult]
    breaks: list[Break]
    rates: list[Rate]
    policy: dict[str, Any]
    policy_version: int
    history_days: int
    published: Published | None
    #: The day's newest close, whether it has a fact of the key or not.
    close_id: str | None
    erased: list[str]


def show(found: Explanation) -> None:
    """Print the whole explanation."""
    say(headline(found), "")
    columns = [
        "event time",
        "published",
        "side",
        "version",
        "type",
        "status",
        "amount",
        "event id",
        "day",
        "what it is",
    ]
    print_table("Timeline", [*columns, "record"], [timeline_row(delivery) for delivery in found.deliveries])
    say("")
    rows = [[r.rule, "BROKEN" if r.broken else r.verdict, r.values, r.limit, margin(r)] for r in found.rules]
    print_table("Rules", ["rule", "", "values", "limit", "margin"], rows)
    for one in found.breaks:
        say("", *break_lines(found, one))
    say("", *footing(found))


def headline(found: Explanation) -> str:
    """Key, day, verdict."""
    types = f" ({', '.join(found.anomaly_types)})" if found.anomaly_types else ""
    key = f"{printable(found.supplier_id)} {printable(found.activity_id)}"
    return f"{key} on {found.reco_date}: {found.outcome}{types}"


def timeline_row(delivery: Delivery) -> list[str]:
    """One delivery as cells of text; the record as topic/partition@offset."""
    return [
        instant(delivery.event_time),
        f"+{duration(_seconds(delivery))}",
        delivery.source,
        str(delivery.version),
        delivery.activity_type,
        delivery.status,
        f"{delivery.amount:,f} {delivery.currency}",
        delivery.event_id,
        delivery.reco_date.isoformat(),
        ", ".join(delivery.marks) or "older version",
        f"{delivery.topic}/{delivery.partition}@{delivery.offset}",
    ]


def _seconds(delivery: Delivery) -> Decimal:
    apart = delivery.kafka_time - delivery.event_time
    return Decimal(apart.days * 86_400_000 + apart.seconds * 1000 + apart.microseconds // 1000) / 1000


def margin(rule: RuleResult) -> str:
    """How far from the limit, on which side of it."""
    if rule.margin is None:
        return ""
    distance = duration(abs(rule.margin)) if rule.unit == "s" else f"{plain_decimal(abs(rule.margin))} {rule.unit}"
    if not rule.margin:
        return "exactly at the limit, which holds"
    return f"{distance} over" if rule.margin < 0 else f"{distance} to spare"


def break_lines(found: Explanation, one: Break) -> list[str]:
    """A break's money, why it weighs so much, and what would clear it."""
    high, critical = (plain_decimal(found.policy[name]) for name in ("high_usd", "critical_usd"))
    risk = "unpriced" if one.amount_at_risk_usd is None else f"{plain_decimal(one.amount_at_risk_usd)} USD at risk"
    why = "unpriced is HIGH" if one.amount_at_risk_usd is None else f"HIGH from {high}, CRITICAL from {critical} USD"
    changes = [change for rule in found.rules if rule.anomaly_type == one.anomaly_type for change in rule.changes]
    return [
        f"{one.anomaly_type}, {one.severity}: {risk} ({why})",
        f"  {one.explanation}",
        *[f"  {'would clear it:' if number == 0 else '            or:'} {text}" for number, text in enumerate(changes)],
    ]


def footing(found: Explanation) -> list[str]:
    """The rates and the policy used, and what was published."""
    version = f"version {found.policy_version}" if found.policy_version else "built-in defaults"
    limits = ", ".join(f"{name} {shown(value)}" for name, value in found.policy.items())
    lines = [_rate_line(rate) for rate in found.rates]
    lines.append(f"Policy of {printable(found.supplier_id)} ({version}): {limits}; history {found.history_days} days.")
    published = found.published
    again = f"events, policies or rates came since; `reco daily --date {found.reco_date}` closes the day again."
    if published is None and found.close_id is None:
        lines.append(f"Not closed yet: no fact is published for {found.reco_date}.")
    elif published is None:
        lines.append(f"Close {found.close_id} has no fact of it: {again}")
    elif published.is_same:
        lines.append(f"The same was published by close {published.close_id}.")
    else:
        types = f" ({', '.join(published.anomaly_types)})" if published.anomaly_types else ""
        is_other = (published.outcome, published.anomaly_types) != (found.outcome, found.anomaly_types)
        how = "" if is_other else " by other events or amounts"
        lines.append(f"Close {published.close_id} published {published.outcome}{types}{how}: {again}")
    return [*lines, *found.erased]


def _rate_line(rate: Rate) -> str:
    if rate.usd_per_unit is None:
        return f"{rate.side}'s {rate.currency}: no rate of the 7 days to {rate.fx_date}."
    if rate.fx_version is None:
        return f"{rate.side}'s {rate.currency}: 1 on every date."
    of = f"rate of {rate.rate_date} for {rate.fx_date}, FX version {rate.fx_version}"
    return f"{rate.side}'s {rate.currency}: {plain_decimal(rate.usd_per_unit)} USD ({of})."
