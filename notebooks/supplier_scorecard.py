# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A supplier's scorecard
#
# How much of one supplier's business agrees with ours, what does not, since when, and how that compares with the
# others: what to bring along to a talk with the supplier.
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
SUPPLIER = None  # "SUP-003"; None: the one with the most money at risk
DAYS = 30  # so many closed days, up to the newest

# %%
from datetime import timedelta

import matplotlib.pyplot as plt
import polars as pl
from matplotlib.ticker import EngFormatter, PercentFormatter

from jobs.common.notebook import Reader

reader = Reader(LAKE, ENGINE)
ask = reader.ask
thousands, blue, grey = EngFormatter(sep=""), "#2c6fbb", "#9aa5b1"
plt.rcParams |= {"figure.dpi": 90, "axes.spines.top": False, "axes.spines.right": False, "axes.titlelocation": "left"}
pl.Config(tbl_rows=40, fmt_str_lengths=200, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True)
cents = pl.Decimal(38, 2)

newest = ask("select max(reco_date) from closes where not provisional").item()
span = f"reco_date > date '{newest - timedelta(days=DAYS)}' and reco_date <= date '{newest}'"
supplier = (
    SUPPLIER
    or ask(f"""
    select supplier_id, sum(coalesce(amount_at_risk_usd, 0)) as usd from anomalies where {span}
    group by supplier_id order by usd desc, supplier_id limit 1
""")["supplier_id"].item()
)
mine = "supplier_id = '{}'".format(supplier.replace("'", "''"))

# %% [markdown]
# ## Beside the others
#
# The share of activities on which both sides agree, supplier by supplier.

# %%
peers = ask(f"""
    select supplier_id, count(*) as activities, sum(case when outcome = 'MATCHED' then 1 else 0 end) as matched
    from reconciliation_facts where {span} group by supplier_id
""")
peers = peers.with_columns(agree=pl.col("matched") / pl.col("activities")).sort("agree", "supplier_id")
place = peers["supplier_id"].to_list().index(supplier) + 1
own = peers.row(place - 1, named=True)
print(f"{supplier}: {own['agree']:.2%} of {own['activities']:,} activities agree in the days up to {newest}.")
print(f"That is place {peers.height - place + 1} of {peers.height}, the best first.")

figure, axes = plt.subplots(figsize=(11, 3.2), layout="constrained")
axes.bar(
    peers["supplier_id"], peers["agree"], color=[blue if name == supplier else grey for name in peers["supplier_id"]]
)
axes.set_ylim(max(0, peers["agree"].min() - 0.01), 1)
axes.yaxis.set_major_formatter(PercentFormatter(1))
axes.tick_params(axis="x", rotation=90, labelsize=8)
axes.set_title(f"Share of activities on which both sides agree; {supplier} in blue")
plt.show()

# %% [markdown]
# ## Day by day

# %%
days = ask(f"""
    select reco_date, count(*) as activities, sum(case when outcome = 'MATCHED' then 1 else 0 end) as matched,
           sum(case when outcome = 'MISMATCHED' then 1 else 0 end) as mismatched,
           sum(case when outcome = 'MISSING_SUPPLIER' then 1 else 0 end) as missing_supplier,
           sum(case when outcome = 'MISSING_AGODA' then 1 else 0 end) as missing_agoda
    from reconciliation_facts where {span} and {mine} group by reco_date order by reco_date
""")
costs = ask(f"""
    select reco_date, anomaly_type, count(*) as breaks, sum(coalesce(amount_at_risk_usd, 0)) as usd
    from anomalies where {span} and {mine} group by reco_date, anomaly_type order by reco_date, anomaly_type
""")
labels = [f"{day:%d %b}" for day in days["reco_date"]]
at_risk = costs.pivot("anomaly_type", index="reco_date", values="usd", sort_columns=True).fill_null(0)
at_risk = days.select("reco_date").join(at_risk, on="reco_date", how="left", maintain_order="left").fill_null(0)
dearest = sorted(at_risk.columns[1:], key=lambda kind: -at_risk[kind].sum())[:6]

figure, (left, right) = plt.subplots(1, 2, figsize=(12, 3.4), layout="constrained")
left.plot(labels, days["matched"] / days["activities"], color=blue, marker="o")
left.yaxis.set_major_formatter(PercentFormatter(1, decimals=2))
left.set_title("Both sides agree")
before = [0.0] * len(labels)
for number, kind in enumerate(dearest):
    money = at_risk[kind].cast(float).to_list()
    right.bar(labels, money, bottom=before, label=kind, color=plt.cm.tab10(number), width=0.6)
    before = [sum(both) for both in zip(before, money, strict=True)]
right.yaxis.set_major_formatter(thousands)
right.set_title("Money at risk by kind, US dollars")
right.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
plt.show()
days

# %% [markdown]
# ## How late each side says it
#
# From the event to its publication, the latest one of each activity and day. Beyond the dashed line it is a delay;
# at the dotted one the grace ends, and whoever has not answered is missing. Both by the policy of the newest closes.

# %%
version = ask("select max(policy_version) from closes").item()
policy = reader.policy(supplier, version)
delays = ask(f"""
    select agoda_delay_seconds as agoda, supplier_delay_seconds as supplier
    from reconciliation_facts where {span} and {mine}
""")

figure, axes = plt.subplots(figsize=(9, 3.4), layout="constrained")
for side, color, width in (("agoda", grey, 5), ("supplier", blue, 2)):
    minutes = delays[side].drop_nulls().cast(float).clip(1) / 60
    axes.ecdf(minutes.to_numpy(), label=side.upper(), color=color, linewidth=width) if len(minutes) else None
axes.axvline(policy.max_delay / 60, color="#d9480f", linestyle="--", label="max_delay")
axes.axvline(policy.grace / 60, color="#d9480f", linestyle=":", label="grace")
axes.set_xscale("log")
axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
axes.yaxis.set_major_formatter(PercentFormatter(1))
axes.set(xlabel="minutes from event to publication", ylim=(0, 1.03), title="Share published within so many minutes")
axes.legend(frameon=False, loc="lower right")
plt.show()

# %% [markdown]
# ## How far prices are apart
#
# The distance of both amounts as a share of what the policy allows; beyond 1 it is a `PRICE_MISMATCH`. Much just
# beside 1 says that a small change of the tolerance changes much.

# %%
apart = ask(f"""
    select price_diff_usd as diff, price_tolerance_usd as allowed from reconciliation_facts
    where {span} and {mine} and price_diff_usd > 0 and price_tolerance_usd > 0
""")
shares = (apart["diff"].cast(float) / apart["allowed"].cast(float)).clip(0, 5)

figure, axes = plt.subplots(figsize=(9, 3), layout="constrained")
axes.hist(shares.to_numpy(), bins=[step / 10 for step in range(51)], color=blue)
axes.axvline(1, color="#d9480f", linestyle="--")
axes.set(xlabel="distance ÷ tolerance (5 and more at the right end)", title="Activities whose prices differ at all")
plt.show()
print(f"{len(shares):,} prices differ, {(shares > 1).sum():,} of them beyond the tolerance.")

# %% [markdown]
# ## What is open, and since when

# %%
ask(f"""
    select first_seen_date, count(*) as open, sum(case when severity = 'CRITICAL' then 1 else 0 end) as critical,
           sum(coalesce(amount_at_risk_usd, 0)) as usd
    from exceptions where state = 'OPEN' and {mine} group by first_seen_date order by first_seen_date
""").with_columns(pl.col("usd").round(2).cast(cents))

# %% [markdown]
# ## What was agreed
#
# Durations in seconds; `reco policies history` says who changed what.

# %%
agreed = {key: str(value) for key, value in policy.model_dump().items()}
pl.DataFrame({"policy": list(agreed), f"version {version}": list(agreed.values())})
