"""Mutants that no test can catch, since they compute the same; each with its reason."""

_CHEAPER = "explode drops a row without anomalies anyway; the filter only spares the join its rows"

EQUIVALENT: dict[str, str] = {
    "anomalies.anomalies_of: F.size('anomaly_types') > 0 -> F.size('anomaly_types') >= 0": _CHEAPER,
    "anomalies.anomalies_of: 0 -> -1": _CHEAPER,
}
