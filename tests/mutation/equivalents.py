"""Mutants that no test can catch, since they compute the same; each with its reason."""

_CHEAPER = "explode drops a row without anomalies anyway; the filter only spares the join its rows"
_ROUNDED = (
    "the cast that follows has as many places and rounds half up by itself; the rounding is written for the reader"
)

_COUNTED = "what is counted only has to be something"

EQUIVALENT: dict[str, str] = {
    "anomalies.anomalies_of: F.size('anomaly_types') > 0 -> F.size('anomaly_types') >= 0": _CHEAPER,
    "anomalies.anomalies_of: 0 -> -1": _CHEAPER,
    **{f"latest._day_of: 1 -> {other}": _COUNTED for other in ("0", "0 #2", "2", "2 #2")},
    "latest._kept_of: F.sort_array(F.col(f'{side.prefix}_list')) -> F.col(f'{side.prefix}_list')": (
        "both engines collect in the order of the window before, but neither promises it"
    ),
    "latest.day_sides: F.lag -> F.lead #2": "a version has one first event and one last, and they are only counted",
    "money.usd: F.round(amount_minor.cast(MINOR) * usd_per_minor, 6) -> amount_minor.cast(MINOR) * usd_per_minor": (
        _ROUNDED
    ),
    "money.rates_as_of: 'inner' -> 'left'": (
        "a date without rates would give a row without a currency, which the join with the minor units drops"
    ),
    "ownership.with_reco_date: F.col('_place') * 2 + can_be_carried.cast('int') -> "
    "F.col('_place') * 2 - can_be_carried.cast('int')": "one less than twice the place is as odd as one more",
    "silence.usual_gaps: F.max -> F.min #7": "one day alone is in the middle",
    "price.price_tolerance: F.round(agoda_usd * pct_tol.cast('decimal(7,6)'), 6) -> "
    "agoda_usd * pct_tol.cast('decimal(7,6)')": _ROUNDED,
    "waiting.waiting: 'inner' -> 'left'": "each delivery's key has a row in sides",
    "waiting.waiting: F.max -> F.min": "one slot has one version where versions count at all",
    "waiting.waiting: F.max -> F.min #2": "whether the latest versions answer each other is one value a key",
    "waiting._unanswered: 0 -> -1": "the first version is 1",
    "waiting._unanswered: F.col('version') > known -> F.col('version') >= known": (
        "the version that is known of the other side is not unanswered"
    ),
}
