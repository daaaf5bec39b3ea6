"""How a break is broken, in a word that all breaks of one cause share, and what that word says to people."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from jobs.common.currencies import minor_units
from reco_rules.vocabulary import FEED_SILENT, AnomalyType

_QUARTER, _HOUR = 900, 3600
#: How far a shift may be from whole hours, or from quarters: the two clocks are apart by themselves too, seconds.
_HOUR_SLACK, _QUARTER_SLACK = 300, 120
_FACTORS = (10, 100, 1000)
_AMOUNT = r"(\d{1,18}) minor units of (\S+) \([^)]*\)"
_PRICES = re.compile(rf"AGODA {_AMOUNT}, SUPPLIER {_AMOUNT}", re.ASCII)
_APART = re.compile(r"event times ([0-9]{1,12}(?:\.[0-9]{1,9})?) s apart")
_STATUSES = re.compile(r"AGODA says ([A-Z]+), SUPPLIER says ([A-Z]+)")
#: Kinds that are one cause by themselves, whatever the values.
_WHOLE = {FEED_SILENT, *(kind.value for kind in AnomalyType if kind.value.startswith(("DUPLICATE", "DELAYED")))}
_WHOLE_SAID = {
    FEED_SILENT: "its feed is silent: is it down?",
    AnomalyType.DUPLICATE_AGODA: "sent twice by AGODA: does its producer retry with new ids?",
    AnomalyType.DUPLICATE_SUPPLIER: "sent twice by the supplier: does it retry with new ids?",
    AnomalyType.DELAYED_AGODA: "published late by AGODA: is its relay behind?",
    AnomalyType.DELAYED_SUPPLIER: "published late by the supplier: is its feed behind?",
}


@dataclass(frozen=True, slots=True)
class Half:
    """The latest version of one side."""

    activity_type: str | None = None
    amount_minor: int | None = None
    currency: str | None = None
    status: str | None = None
    event_time: datetime | None = None
    version: int | None = None
    amount_usd: Decimal | None = None


def halves(row: Mapping[str, Any]) -> tuple[Half, Half]:
    """AGODA's and SUPPLIER's side of a row of gold/nrt_results or gold/reconciliation_facts."""
    names = ("activity_type", "amount_minor", "currency", "status", "event_time", "version", "amount_usd")
    agoda, supplier = (Half(**{name: row[f"{side}_{name}"] for name in names}) for side in ("agoda", "supplier"))
    return agoda, supplier


def from_halves(kind: str, agoda: Half, supplier: Half) -> str:
    """The signature of a break whose both sides are known; empty where the values show no pattern."""
    if kind in _WHOLE:
        return "all"
    match kind:
        case AnomalyType.TIMESTAMP_SKEW if agoda.event_time and supplier.event_time:
            return _shift((supplier.event_time - agoda.event_time).total_seconds(), signed=True)
        case AnomalyType.PRICE_MISMATCH:
            return _price(agoda, supplier)
        case AnomalyType.STATUS_MISMATCH:
            return _turned(agoda, supplier) or f"status:{agoda.status}>{supplier.status}"
        case AnomalyType.FX_RATE_MISSING:
            return f"rate:{agoda.currency}>{supplier.currency}"
        case AnomalyType.MISSING_AGODA | AnomalyType.MISSING_SUPPLIER:
            there = agoda.activity_type or supplier.activity_type
            return f"type:{there}" if there else ""
    return ""


def from_explanation(kind: str, text: str | None) -> str:
    """The same from the exception's sentence, where the lake cannot be asked: without directions and types."""
    if kind in _WHOLE:
        return "all"
    if kind == AnomalyType.TIMESTAMP_SKEW and (found := _APART.search(text or "")):
        return _shift(float(found[1]), signed=False)
    if kind == AnomalyType.STATUS_MISMATCH and (found := _STATUSES.search(text or "")):
        return f"status:{found[1]}>{found[2]}"
    if kind in (AnomalyType.PRICE_MISMATCH, AnomalyType.FX_RATE_MISSING) and (found := _PRICES.search(text or "")):
        sides = Half(None, int(found[1]), found[2]), Half(None, int(found[3]), found[4])
        return from_halves(kind, *sides)
    return ""


def say(kind: str | None, signature: str | None) -> str:
    """What a cause says to people, after a count: `all −7 h: time zone?`."""
    if kind in _WHOLE_SAID:
        return _WHOLE_SAID[kind]
    what, _, value = (signature or "").partition(":")
    one, _, other = value.partition(">")
    missing = "AGODA" if kind == AnomalyType.MISSING_AGODA else "the supplier"
    said = {
        "hours": f"all {value} h: time zone?",
        "apart": f"all {value} h apart: time zone?",
        "currency": f"the same number in {one} at AGODA and in {other} at the supplier: wrong currency?",
        "factor": f"all {value} times AGODA's amount: minor units taken for major ones?",
        "percent": f"all {value}% of AGODA's amount: a fee or a rate?",
        "sign": "the same amount, a refund on one side only: sign turned round?",
        "status": f"AGODA says {one}, the supplier {other}: one step not told?",
        "rate": f"no exchange rate for {' or '.join(dict.fromkeys((one, other)))}: load it",
        "type": f"missing at {missing}, nearly all that is missing: has that message stopped?",
    }
    return said.get(what, "several causes")


def _shift(seconds: float, *, signed: bool) -> str:
    hours_, quarters = round(seconds / _HOUR), round(seconds / _QUARTER)
    if hours_ and abs(seconds - hours_ * _HOUR) <= _HOUR_SLACK:
        quarters = 4 * hours_
    elif quarters == 0 or abs(seconds - quarters * _QUARTER) > _QUARTER_SLACK:
        return ""
    hours = f"{abs(quarters) / 4:g}"
    return f"hours:{'+' if quarters > 0 else '−'}{hours}" if signed else f"apart:{hours}"


def _turned(agoda: Half, supplier: Half) -> str:
    """The same amount in the same version, as a refund on one side only; an older version is a step not told."""
    types = {agoda.activity_type, supplier.activity_type}
    is_one_sided = "REFUND" in types and len(types) > 1 and None not in types
    is_same = (agoda.amount_minor, agoda.version) == (supplier.amount_minor, supplier.version)
    return "sign:" if is_one_sided and is_same else ""


def _price(agoda: Half, supplier: Half) -> str:
    if not agoda.amount_minor or not supplier.amount_minor:
        return ""
    if agoda.currency != supplier.currency:
        return _other_currency(agoda, supplier)
    ratio = Decimal(supplier.amount_minor) / agoda.amount_minor
    for factor in _FACTORS:
        for wanted, name in ((Decimal(factor), f"{factor}"), (1 / Decimal(factor), f"1/{factor}")):
            is_cut_off = abs(supplier.amount_minor - agoda.amount_minor * wanted) < 1
            if is_cut_off or abs(ratio / wanted - 1) < Decimal("0.005"):
                return f"factor:{name}"
    return _percent((ratio - 1) * 100)


def _other_currency(agoda: Half, supplier: Half) -> str:
    """The same number, in minor or in whole units; or, by the rates, a constant percentage."""
    numbers = {(side.amount_minor, _whole_units(side)) for side in (agoda, supplier)}
    (minor, whole), *others = numbers
    if not others or minor == others[0][0] or (whole is not None and whole == others[0][1]):
        return f"currency:{agoda.currency}>{supplier.currency}"
    if agoda.amount_usd and supplier.amount_usd:
        return _percent((supplier.amount_usd / agoda.amount_usd - 1) * 100)
    return ""


def _whole_units(side: Half) -> Decimal | None:
    exponent = minor_units().get(side.currency or "")
    return None if exponent is None or side.amount_minor is None else Decimal(side.amount_minor).scaleb(-exponent)


def _percent(change: Decimal) -> str:
    """To a tenth of a per cent, or a quarter where it is one: amounts are rounded to minor units."""
    quarter = (change * 4).to_integral_value() / 4
    shown = quarter if abs(change - quarter) <= Decimal("0.03") else change.quantize(Decimal("0.1"))
    if not shown or abs(shown) > 95:
        return ""
    return f"percent:{'+' if shown > 0 else '−'}{abs(shown).normalize():f}"
