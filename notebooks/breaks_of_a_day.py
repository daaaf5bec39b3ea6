# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The breaks of a day
#
# What a close found: how much agreed, which rules were broken, what it costs, and where to begin.
#
# `LAKE` is the lake's folder; `make demo` leaves one in `.reco/demo/lake`. `ENGINE = "polars"` needs no JVM;
# `ENGINE = "spark"` asks the same questions of a Spark session.
#
# On Databricks: install the wheel on the cluster, import this file, set `ENGINE = "spark"` and `LAKE` to the
# lake's URI. It takes the session that is there. (It was run with Spark on one machine, not on Databricks.)

# %% tags=["parameters"]
import os

LAKE = os.environ.get("RECO_LAKE__ROOT", "../.reco/demo/lake")
ENGINE = "polars"
DAY = None  # "2026-10-16"; None: the newest day that was closed for good

# %%
from datetime import date

import matplotlib.pyplot as plt
import polars as pl
from matplotlib.ticker import EngFormatter, PercentFormatter

from jobs.common.notebook import Reader

reader = Reader(LAKE, ENGINE)
ask = reader.ask
thousands, blue, grey = EngFormatter(sep=""), "#2c6fbb", "#9aa5b1"
severities = {"CRITICAL": "#8c1d18", "HIGH": "#d9480f", "MEDIUM": "#e8a33d", "LOW": grey}
plt.rcParams.update(
    {"figure.dpi": 90, "axes.spines.top": False, "axes.spines.right": False, "axes.titlelocation": "left"}
)
pl.Config(tbl_rows=40, fmt_str_lengths=200, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True)

cents = pl.Decimal(38, 2)

day = date.fromisoformat(DAY) if DAY else ask("select max(reco_date) from closes where not provisional").item()
of_the_day = f"reco_date = date '{day}'"

# %% [markdown]
# ## What became of each activity

# %%
outcomes = ask(f"""
    select outcome, count(*) as activities, sum(coalesce(agoda_amount_usd, supplier_amount_usd)) as usd
    from reconciliation_facts where {of_the_day} group by outcome order by activities desc
""")
total = outcomes["activities"].sum()
matched = outcomes.filter(pl.col("outcome") == "MATCHED")["activities"].sum()
print(f"{day}: {total:,} activities, {matched / max(total, 1):.2%} of them matched.")
outcomes.with_columns(pl.col("usd").round(2).cast(cents))

# %% [markdown]
# ## Which rules were broken, and what it costs
#
# A break that cannot be priced (`unpriced`) has no money here, and is not harmless: its severity is HIGH.

# %%
breaks = ask(f"""
    select anomaly_type, severity, count(*) as breaks, sum(coalesce(amount_at_risk_usd, 0)) as usd,
           sum(case when amount_at_risk_usd is null then 1 else 0 end) as unpriced
    from anomalies where {of_the_day} group by anomaly_type, severity
""")
kinds = breaks.group_by("anomaly_type").agg(pl.col("breaks", "usd", "unpriced").sum()).sort("usd", "breaks")
names = kinds["anomaly_type"].to_list()

figure, (left, right) = plt.subplots(1, 2, figsize=(12, 0.42 * len(names) + 1.2), sharey=True, layout="constrained")
before = [0] * len(names)
for severity, color in severities.items():
    mine = dict(breaks.filter(pl.col("severity") == severity).select("anomaly_type", "breaks").iter_rows())
    counts = [mine.get(name, 0) for name in names]
    left.barh(names, counts, left=before, color=color, label=severity)
    before = [sum(both) for both in zip(before, counts, strict=True)]
left.bar_label(left.containers[-1], [f" {count:,}" for count in before])
left.set_title("Breaks by severity")
left.legend(frameon=False, loc="lower right")
bars = right.barh(names, kinds["usd"].cast(float), color=blue)
right.bar_label(bars, [f" {money:,.0f}" for money in kinds["usd"]])
right.xaxis.set_major_formatter(thousands)
right.set_title("Money at risk, US dollars")
for axes in (left, right):
    axes.margins(x=0.15)
plt.show()
kinds.reverse().with_columns(pl.col("usd").round(2).cast(cents))

# %% [markdown]
# ## Which suppliers
#
# Money at risk of the ten dearest suppliers by kind. A dark field in a light row is one cause at one supplier.

# %%
by_supplier = ask(f"""
    select supplier_id, anomaly_type, sum(amount_at_risk_usd) as usd from anomalies
    where {of_the_day} and amount_at_risk_usd > 0 group by supplier_id, anomaly_type
""").with_columns(pl.col("usd").cast(float))
dearest = by_supplier.group_by("supplier_id").agg(pl.col("usd").sum()).sort("usd", descending=True).head(10)
grid = by_supplier.pivot("anomaly_type", index="supplier_id", values="usd", sort_columns=True).fill_null(0)
grid = dearest.select("supplier_id").join(grid, on="supplier_id", how="left", maintain_order="left")
columns = grid.columns[1:]

figure, axes = plt.subplots(figsize=(10, 0.45 * grid.height + 1.4), layout="constrained")
axes.imshow(grid.select(columns).to_numpy(), aspect="auto", cmap="Blues")
axes.set_xticks(range(len(columns)), [name.replace("_", "\n") for name in columns])
axes.set_yticks(range(grid.height), grid["supplier_id"].to_list())
middle = grid.select(columns).to_numpy().max(initial=0) / 2
for row, values in enumerate(grid.select(columns).iter_rows()):
    for column, value in enumerate(values):
        axes.text(
            column,
            row,
            f"{value:,.0f}" if value else "–",
            ha="center",
            va="center",
            color="white" if value > middle else "black",
        )
axes.set_title("Money at risk by supplier and kind, US dollars")
plt.show()

# %% [markdown]
# ## How few breaks hold most of the money
#
# The steeper the curve begins, the less must be worked through.

# %%
amounts = ask(f"""
    select amount_at_risk_usd as usd from anomalies where {of_the_day} and amount_at_risk_usd > 0
    order by amount_at_risk_usd desc
""")["usd"].cast(float)
share = amounts.cum_sum() / (amounts.sum() or 1)
half = share.search_sorted(0.5) + 1

figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
axes.plot(range(1, len(share) + 1), share, color=blue, linewidth=2, marker="o" if len(share) < 20 else None)
axes.axhline(0.5, color=grey, linestyle=":")
axes.annotate(
    f"{half:,} of {len(share):,} breaks hold half of the money", (half, 0.5), (8, -14), textcoords="offset points"
)
axes.yaxis.set_major_formatter(PercentFormatter(1))
axes.set(xlabel="breaks, dearest first", ylim=(0, 1.03), title="Share of the money at risk")
plt.show()

# %% [markdown]
# ## Where to begin
#
# `reco explain SUPPLIER ACTIVITY` shows each of them down to its two raw records, and so does the console.

# %%
ask(f"""
    select supplier_id, activity_id, anomaly_type, severity, amount_at_risk_usd, explanation from anomalies
    where {of_the_day} and amount_at_risk_usd is not null
    order by amount_at_risk_usd desc, supplier_id, activity_id limit 10
""").with_columns(pl.col("amount_at_risk_usd").round(2).cast(cents))
