"""One sentence that says why a break is one: the values of both sides and the limit."""

from pyspark.sql import Column

from reco_rules.engine import F
from reco_rules.vocabulary import AnomalyType


def _text(*parts: Column | str) -> Column:
    """The parts one after another; a null part reads `?`, so that no sentence is lost to it."""
    return F.concat(
        *[F.lit(part) if isinstance(part, str) else F.coalesce(part.cast("string"), F.lit("?")) for part in parts]
    )


def _amount(side: str) -> Column:
    dollars = F.col(f"{side}_amount_usd")
    priced = F.when(dollars.isNull(), F.lit("no USD rate")).otherwise(_text(dollars, " USD"))
    return _text(F.col(f"{side}_amount_minor"), " minor units of ", F.col(f"{side}_currency"), " (", priced, ")")


def explanation(anomaly_type: Column) -> Column:
    """The sentence for one break of a fact (its and the policy's columns by name)."""
    agoda, supplier = _amount("agoda"), _amount("supplier")
    both = _text("AGODA ", agoda, ", SUPPLIER ", supplier, ": ")
    sentences = {
        AnomalyType.MISSING_SUPPLIER: _text("AGODA reports ", agoda, ", SUPPLIER nothing"),
        AnomalyType.MISSING_AGODA: _text("SUPPLIER reports ", supplier, ", AGODA nothing"),
        AnomalyType.PRICE_MISMATCH: _text(
            *(both, F.col("price_diff_usd"), " USD apart, ", F.col("price_tolerance_usd"), " USD allowed")
        ),
        AnomalyType.FX_RATE_MISSING: _text(both, "no rate of the 7 days to ", F.col("fx_date")),
        AnomalyType.STATUS_MISMATCH: _text(
            "AGODA says ", F.col("agoda_status"), ", SUPPLIER says ", F.col("supplier_status")
        ),
        AnomalyType.TIMESTAMP_SKEW: _text(
            "event times ", F.col("skew_seconds"), " s apart, ", F.col("allowed_skew_seconds"), " s allowed"
        ),
        AnomalyType.DUPLICATE_AGODA: _duplicated("agoda"),
        AnomalyType.DUPLICATE_SUPPLIER: _duplicated("supplier"),
        AnomalyType.DELAYED_AGODA: _delayed("agoda"),
        AnomalyType.DELAYED_SUPPLIER: _delayed("supplier"),
    }
    chosen = F.when(F.lit(False), F.lit(""))
    for kind, sentence in sentences.items():
        chosen = chosen.when(anomaly_type == kind.value, sentence)
    return chosen.otherwise(anomaly_type)


def silence_explanation(held: Column) -> Column:
    """The sentence for a silent feed (columns of `usual_gaps`, and `limit_seconds`). `held`: how many it holds."""
    since = F.date_format("last_event", "yyyy-MM-dd HH:mm:ss")
    daily = F.col("daily_gap_seconds")
    on_most_days = F.when(daily.isNull(), F.lit("")).otherwise(_text(", on most days one of ", daily, " s"))
    usual = _text("gaps of ", F.col("usual_gap_seconds"), " s are usual", on_most_days)
    measured = _text(usual, ", ", F.col("limit_seconds"), " s allowed")
    told = F.when(F.col("limit_seconds").isNull(), F.lit("what is usual of it is no longer known")).otherwise(measured)
    return _text("SUPPLIER sent nothing after ", since, ": ", told, "; it holds ", held, " MISSING_SUPPLIER")


def _duplicated(side: str) -> Column:
    return _text(
        *(side.upper(), " sent ", F.col(f"{side}_events"), " different events where one version is repeated, "),
        *(F.col("difference_usd"), " USD between conflicting amounts"),
    )


def _delayed(side: str) -> Column:
    return _text(
        *(side.upper(), " published ", F.col(f"{side}_delay_seconds"), " s after the event, "),
        *(F.col("max_delay_seconds"), " s allowed"),
    )
