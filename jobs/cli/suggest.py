"""`reco policies suggest`: limits for one supplier from its own delays and differences, and what each would cost."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from jobs.cli.suggest_data import MILLION, Pair, Seen, read
from jobs.cli.suggest_numbers import Measure, measure, needed
from jobs.common import policies
from jobs.common.errors import FAILED, UserError
from jobs.common.margins import duration
from jobs.common.options import AsJson, Debug, SettingsFile
from jobs.common.output import plain_decimal, print_json, print_table, say
from jobs.common.policies import Policy
from jobs.common.policy_file import duration_of, written
from jobs.common.settings import load_settings

_MINUTE = 60_000
_CENT, _BASIS_POINT = 10_000, 100
_DAY = 86_400_000
#: What false verdicts and hidden money are, for each limit.
MEANING = {
    "grace": "false verdicts: answers that came later, also those set aside, each a MISSING_… until then; hidden: "
    "missing money that is not told yet, on average at any moment",
    "allowed_skew": "false verdicts: ordinary pairs further apart; hidden: what the pairs set aside as breaks come to "
    "that would pass",
    "pct_tol": "false verdicts: ordinary pairs further apart; hidden: differences that pass, abs_tol_usd as it is now",
    "abs_tol_usd": "false verdicts: ordinary pairs further apart; hidden: differences that pass, pct_tol as proposed",
}


@dataclass(frozen=True)
class Suggestion:
    """What is proposed for a supplier, and why."""

    supplier_id: str
    seen: Seen
    percent: Decimal
    price_percent: Decimal
    measures: list[Measure]
    notes: list[str]

    def snippet(self) -> str:
        """As it would stand in a policies file."""
        limits = {one.key: value_of(one.key, one.proposed) for one in self.measures}
        price = {key: limits.pop(key) for key in ("abs_tol_usd", "pct_tol")}
        data = {"suppliers": {self.supplier_id: {**limits, "price": price}}}
        return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True))


def command(
    supplier: Annotated[str, typer.Argument(metavar="SUPPLIER", help="supplierId.")],
    days: Annotated[int, typer.Option("--days", metavar="N", min=1, help="Its last N closed days.")] = 30,
    percentile: Annotated[
        str, typer.Option(metavar="P", help="The share of its ordinary waits and skews within the limit, percent.")
    ] = "99.5",
    price_percentile: Annotated[str, typer.Option(metavar="P", help="The same of its price differences.")] = "99",
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the trade-off into this HTML file.")
    ] = None,
    settings: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Propose grace, allowed skew and price tolerances for SUPPLIER, with the trade-off of looser and tighter ones.

    Example: reco policies suggest SUP-001 --days 30 --plot SUP-001.html
    """
    percents = _percent("--percentile", percentile), _percent("--price-percentile", price_percentile)
    if plot is not None and plot.suffix not in (".html", ".htm"):
        raise UserError(f"--plot {plot} would be an HTML file: name it like {plot.stem}.html.")
    chosen = load_settings(settings)
    _, in_force = policies.current_policies(chosen)
    policy = policies.effective(in_force, supplier)
    found = suggest(supplier, read(chosen, supplier, policy, days), policy, *percents)
    if plot is not None:
        from jobs.cli.suggest_plot import draw

        draw(found, plot)
    if as_json:
        print_json(as_dict(found))
        return
    show(found)
    if plot is not None:
        say(f"The trade-off is drawn in {plot}.")


def suggest(supplier: str, seen: Seen, policy: Policy, percent: Decimal, price_percent: Decimal) -> Suggestion:
    """UserError where there are too few values to tell a percentile."""
    priced = [pair for pair in seen.pairs if pair.difference is not None and pair.amount is not None]
    skews = [pair for pair in seen.pairs if pair.skew is not None]
    _require(supplier, seen, "answered events", len(seen.waits), "--percentile", percent)
    _require(supplier, seen, "pairs", len(skews), "--percentile", percent)
    _require(supplier, seen, "priced pairs", len(priced), "--price-percentile", price_percent)
    wait = measure("grace", seen.waits, policy.grace * 1000, percent, _minutes, _untold(seen), accuses_all=True)
    skew = measure(
        *("allowed_skew", [p.skew or 0 for p in skews], policy.allowed_skew * 1000, percent, _seconds, _passing(skews))
    )
    pct, absolute = _price(priced, policy, price_percent)
    measures = [wait, skew, absolute, pct]
    return Suggestion(supplier, seen, percent, price_percent, measures, _notes(policy, measures))


def _require(supplier: str, seen: Seen, what: str, count: int, option: str, percent: Decimal) -> None:
    least = needed(percent)
    if count < least:
        raise UserError(
            f"{supplier} has {count:,} {what} on its closed days from {seen.first} to {seen.last}; a {percent:f}th "
            f"percentile needs at least {least:,}: close more days, take more with --days, or say a lower {option}.",
            FAILED,
        )


def _price(pairs: Sequence[Pair], policy: Policy, percent: Decimal) -> tuple[Measure, Measure]:
    """pct_tol first, for pairs that abs_tol_usd as it is does not cover; then abs_tol_usd for what pct_tol does not."""
    apart = [(pair.difference or 0, pair.amount or 0) for pair in pairs]
    now = int(policy.abs_tol_usd * MILLION)
    # The ratio that a difference needs, rounded up; what no ratio covers needs the greatest, 1.
    ratios = [0 if d <= now else (min(-(-d * MILLION // a), MILLION) if a else MILLION) for d, a in apart]
    pct = measure("pct_tol", ratios, int(policy.pct_tol * MILLION), percent, _basis_points, _let_pass(ratios, apart))
    dollars = [0 if d * MILLION <= pct.proposed * a else d for d, a in apart]
    return pct, measure("abs_tol_usd", dollars, now, percent, _cents, _let_pass(dollars, apart))


Hidden = Callable[[int, Callable[[int], bool]], Decimal]


def _untold(seen: Seen) -> Hidden:
    # Money that comes in at an even rate and waits for the limit: rate times time (Little's law).
    return lambda limit, _: seen.missing_usd * limit / (seen.days * _DAY)


def _passing(pairs: Sequence[Pair]) -> Hidden:
    def hidden(limit: int, far: Callable[[int], bool]) -> Decimal:
        return Decimal(sum(p.amount or 0 for p in pairs if (p.skew or 0) <= limit and far(p.skew or 0))) / MILLION

    return hidden


def _let_pass(values: Sequence[int], apart: Sequence[tuple[int, int]]) -> Hidden:
    return lambda limit, _: Decimal(sum(d for v, (d, _) in zip(values, apart, strict=True) if v <= limit)) / MILLION


def _up(value: int, step: int, least: int, most: int) -> int:
    return min(max(-(-value // step) * step, least), most)


def _minutes(value: int) -> int:
    return _up(value, _MINUTE, _MINUTE, 360 * _MINUTE)


def _seconds(value: int) -> int:
    return _up(value, 1_000 if value <= _MINUTE else _MINUTE, 0, _DAY)


def _cents(value: int) -> int:
    return _up(value, _CENT, 0, 10**18)


def _basis_points(value: int) -> int:
    return _up(value, _BASIS_POINT, 0, MILLION)


def value_of(key: str, value: int) -> str:
    """A limit as a policies file writes it; one that is no whole second with its milliseconds."""
    if key in ("grace", "allowed_skew"):
        return duration_of(value // 1000) if value % 1000 == 0 else duration(Decimal(value) / 1000)
    return plain_decimal(Decimal(value) / MILLION)


def _notes(policy: Policy, measures: Sequence[Measure]) -> list[str]:
    notes = []
    wait = measures[0]
    if policy.mode == "DAILY_ONLY":
        notes.append(
            "It is DAILY_ONLY: no stream waits for it, so grace only says which day a pair over midnight is of."
        )
    if wait.percentiles["P100"] > 360 * _MINUTE:
        notes.append("Some ordinary answers came after more than 6h, the longest grace there is.")
    for one in measures:
        hidden = {option.limit: option.hidden_usd for option in one.options}
        more = hidden[one.proposed] - hidden[one.now]
        if more > 0:
            notes.append(
                f"{written(one.key)}: the proposed limit is looser than now and would hide {more:,.2f} USD more; it is "
                "right only if those are no breaks."
            )
    return notes


def _percent(option: str, text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(0)
    if not 50 <= value < 100:
        raise UserError(f"{option} {text} must be a number from 50 to under 100, like 99.5.")
    return value


def as_dict(found: Suggestion) -> dict[str, Any]:
    """Plain values: limits as a policies file writes them."""
    seen = {name: getattr(found.seen, name) for name in ("first", "last", "missing", "missing_usd")}
    told = []
    for one in found.measures:
        limits = {name: value_of(one.key, getattr(one, name)) for name in ("now", "proposed")}
        ranks = {name: value_of(one.key, value) for name, value in one.percentiles.items()}
        options = [{**asdict(option), "limit": value_of(one.key, option.limit)} for option in one.options]
        told.append({**asdict(one), "key": written(one.key), **limits, "percentiles": ranks, "options": options})
    head = {
        "supplier_id": found.supplier_id,
        "percentile": found.percent,
        "price_percentile": found.price_percent,
        **seen,
    }
    return {**head, "measures": told, "notes": found.notes, "snippet": found.snippet()}


def show(found: Suggestion) -> None:
    """Print the trade-off of each limit, and the snippet."""
    seen = found.seen
    say(
        f"{found.supplier_id} from {seen.first} to {seen.last}: {len(seen.waits):,} answered events, "
        f"{len(seen.pairs):,} pairs, {seen.missing:,} missing with {seen.missing_usd:,.2f} USD.",
        f"Proposed is what {found.percent:f}% of its ordinary waits and skews and {found.price_percent:f}% of its "
        "price differences keep to, rounded up.",
    )
    for one in found.measures:
        say("")
        aside = f", {one.set_aside:,} set aside as breaks" if one.set_aside else ""
        title = f"{written(one.key)}: {one.values:,} values{aside}"
        rows = [
            [value_of(one.key, o.limit), o.marks, f"{o.within * 100:.2f}%", o.false_verdicts, f"{o.hidden_usd:,.2f}"]
            for o in one.options
        ]
        print_table(title, ["limit", "", "within", "false verdicts", "hidden USD"], rows)
        say(f"{MEANING[one.key]}.")
    say("", *found.notes, "Proposed:", *found.snippet().splitlines())
    say("", "Put it into your policies file, then see what it would have done: reco policies backtest FILE")
