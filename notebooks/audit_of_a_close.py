# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The audit of a close
#
# Whether a close can be relied on: its control totals, computed again from the facts; the tables as they were when
# it read and wrote them; what has come since; and the run again from the same inputs, to the same hash.
#
# `LAKE` is the lake's folder; `make demo` leaves one in `.reco/demo/lake`. `ENGINE = "polars"` needs no JVM;
# `ENGINE = "spark"` asks the same questions of a Spark session, and runs the close again too.
#
# On Databricks: install the wheel on the cluster, import this file, set `ENGINE = "spark"` and `LAKE` to the
# lake's URI. It takes the session that is there. (It was run with Spark on one machine, not on Databricks.)

# %% tags=["parameters"]
import os

LAKE = os.environ.get("RECO_LAKE__ROOT", "../.reco/demo/lake")
ENGINE = "polars"
CLOSE_ID = None  # "2026-10-16-r1"; None: the newest day's last close that was for good

# %%
import matplotlib.pyplot as plt
import polars as pl
from matplotlib.ticker import EngFormatter

from jobs.common.notebook import Reader

reader = Reader(LAKE, ENGINE)
ask = reader.ask
thousands = EngFormatter(sep="")
colors = {"matched": "#2f9e6e", "mismatched": "#e8a33d", "missing": "#8c1d18"}
plt.rcParams |= {"figure.dpi": 90, "axes.spines.top": False, "axes.spines.right": False, "axes.titlelocation": "left"}
pl.Config(tbl_rows=40, fmt_str_lengths=200, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True)

close_id = (
    CLOSE_ID
    or ask("select close_id from closes where not provisional order by reco_date desc, revision desc limit 1").item()
)
close = ask(f"""
    select close_id, reco_date, revision, started_at, finished_at, silver_version, policies_table_version,
           fx_table_version, policy_version, fx_version, history_days, code_version, facts, anomalies,
           amount_at_risk_usd, content_hash
    from closes where close_id = '{close_id}'
""").row(0, named=True)
day = close["reco_date"]
pl.DataFrame({"close": list(close), close_id: [str(value) for value in close.values()]})

# %% [markdown]
# ## The tables as this close left them
#
# A later revision replaces the day's facts. Time travel gives those that this close wrote.

# %%
then = {name: reader.version_at(name, close["finished_at"]) for name in ("reconciliation_facts", "anomalies")}
counts = {
    name: ask(
        f"select count(*) as n from {name} where reco_date = date '{day}' and close_id = '{close_id}'", **then
    ).item()
    for name in then
}
assert counts == {"reconciliation_facts": close["facts"], "anomalies": close["anomalies"]}, counts
pl.DataFrame(
    {"table": list(then), "its version then": list(then.values()), "rows of this close": list(counts.values())}
)

# %% [markdown]
# ## Control totals
#
# What came in on each side is what matched, mismatched or is missing on the other: recorded by the close, and here
# added up again from the facts. They must agree to the last digit, supplier by supplier.

# %%
outcomes = {"matched": "= 'MATCHED'", "mismatched": "= 'MISMATCHED'", "missing": "like 'MISSING_%'"}
parts = []
for side in ("agoda", "supplier"):
    sums = [
        f"sum(case when outcome {which} then 1 else 0 end) as {name}, "
        f"sum(case when outcome {which} then coalesce({side}_amount_usd, 0) else 0 end) as {name}_usd"
        for name, which in outcomes.items()
    ]
    parts.append(
        ask(
            f"""
            select supplier_id, '{side.upper()}' as side, count(*) as keys_in,
                   sum(coalesce({side}_amount_usd, 0)) as amount_in_usd, {", ".join(sums)}
            from reconciliation_facts where reco_date = date '{day}' and {side}_event_id is not null
            group by supplier_id
            """,
            **then,
        )
    )
again = pl.concat(parts)
recorded = ask(f"select * from control_totals where close_id = '{close_id}'")
figures = ["keys_in", "amount_in_usd", *(f"{name}{unit}" for name in outcomes for unit in ("", "_usd"))]
both = recorded.join(again, on=["supplier_id", "side"], how="full", suffix="_again", coalesce=True)
differ = both.filter(~pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"{name}_again")) for name in figures))
unbalanced = recorded.filter(
    (pl.col("keys_in") != pl.sum_horizontal(*outcomes))
    | (pl.col("amount_in_usd") != pl.sum_horizontal(*(f"{name}_usd" for name in outcomes)))
)
print(f"{both.height} totals: {differ.height} differ from the facts, {unbalanced.height} do not balance.")
assert differ.is_empty(), differ
assert unbalanced.is_empty(), unbalanced

# %%
sides = recorded.group_by("side").agg(pl.col(figures).sum()).sort("side", descending=True)

figure, panels = plt.subplots(1, 2, figsize=(12, 2.4), sharey=True, layout="constrained")
for axes, unit, title in zip(panels, ("", "_usd"), ("Keys", "US dollars"), strict=True):
    whole = sides["keys_in" if not unit else "amount_in_usd"].cast(float)
    before = [0.0] * sides.height
    for name, color in colors.items():
        parts = sides[f"{name}{unit}"].cast(float).to_list()
        axes.barh(sides["side"], parts, left=before, color=color, label=name)
        before = [sum(pair) for pair in zip(before, parts, strict=True)]
    axes.bar_label(axes.containers[-1], [f" {value:,.0f} came in" for value in whole])
    axes.xaxis.set_major_formatter(thousands)
    axes.set_title(title)
    axes.margins(x=0.25)
panels[0].legend(frameon=False, ncols=3, loc="upper left", bbox_to_anchor=(0, -0.15))
plt.show()

# %% [markdown]
# ## What has come since
#
# The close read silver at its pinned version. Events of the day that came later are not in it; where there are any,
# `reco daily --stale` closes the day again, as a numbered revision.

# %%
question = f"select source, count(*) as deliveries from activity where event_date = date '{day}' group by source"
read = ask(question, activity=close["silver_version"]).rename({"deliveries": "read by the close"})
now = ask(question).rename({"deliveries": "there now"})
since = now.join(read, on="source", how="left").fill_null(0).sort("source")
since.with_columns(late=pl.col("there now") - pl.col("read by the close"))

# %%
ask(f"""
    select close_id, revision, finished_at, facts, anomalies, changed_facts, moved_usd, content_hash
    from closes where reco_date = date '{day}' order by revision
""")

# %% [markdown]
# ## Run again, to the same hash
#
# A replay reads the inputs at the versions that the close pinned, judges again beside the lake's tables and compares
# the hash over all rows. Without Spark, the command says the same.

# %%
if reader.spark is None:
    print(f"reco replay {close_id}")
else:
    from jobs.daily.replay import replay, sentences

    replayed = replay(reader.spark, reader.settings, close_id)
    print(f"recorded {replayed.recorded_hash}", f"replayed {replayed.replayed_hash}", *sentences(replayed), sep="\n")
    assert replayed.equal
