"""What is configured around the tables: ways in, policies, formats, rates, and who is told."""

from collections import Counter
from typing import Any

import polars as pl

from jobs.common import policies
from jobs.common.alerting import read_alerts
from jobs.common.errors import UserError
from jobs.common.kafka import bootstrap_servers
from jobs.console.reading import in_force
from jobs.console.tables import Tables


def configured(tables: Tables) -> dict[str, Any]:
    """By the console's settings and the lake; what other machines have in files of their own is not known here.

    `modes`: listed suppliers by mode; `polled`: suppliers' APIs that are described; `rates_until`: the newest day that
    has an exchange rate; `alerts`: what `reco alerts` told last on this machine, None where it never ran.
    """
    settings = tables.settings
    version, known = in_force(tables)
    listed = [name for name in known if name is not None]
    agreed = [policies.effective(known, name) for name in listed]
    outbox, folder = settings.outbox, settings.poll.folder
    return {
        "broker": bootstrap_servers(settings),
        "outbox": f"{outbox.table} of {' and '.join(outbox.sides)}" if outbox.dsn else None,
        "polled": sorted(file.stem for kind in ("*.yaml", "*.yml") for file in folder.glob(kind)),
        "policy_version": version,
        "default_mode": policies.effective(known, None).mode,
        "modes": dict(sorted(Counter(one.mode for one in agreed).items())),
        "formats": sorted({one.format for one in agreed if one.format}),
        **tables.made("rates", ("fx_rates",), lambda: _rates(tables)),
        "alerts_topic": settings.alerts.topic,
        "alerts": _alerts(tables),
    }


def _rates(tables: Tables) -> dict[str, Any]:
    found = tables.scan("fx_rates")
    if found is None:
        return {"fx_version": None, "currencies": 0, "rates_until": None}
    newest = pl.col("fx_version").max(), pl.col("rate_date").max().alias("rates_until")
    return found.select(*newest, pl.col("currency").n_unique().alias("currencies")).collect().row(0, named=True)


def _alerts(tables: Tables) -> dict[str, Any] | None:
    try:
        told = read_alerts(tables.settings)
    except UserError as error:
        return {"why": str(error), "sinks": []}
    kept = ("told_at", "open", "incidents", "lake", "sinks")
    return None if told is None else {"why": None, **{name: told.get(name) for name in kept}}
