"""`make bench`: measures, prints the table, keeps it and a plot under bench/results."""

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from pyspark.sql import SparkSession

from bench import ageing, data, engines, match, report, stream
from bench.contenders import Contender, other_contenders, spark_contenders
from jobs.cli.broker import Broker
from jobs.common.session import spark_session
from jobs.common.settings import Kafka, Lake, Settings, Spark

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Close at each size, then normalise; each contender in turn, round by round, in one warm JVM."""
    options = _options()
    if options.engines:
        engines.main(options.engines, options.rounds, options.folder, RESULTS)
        return
    results: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory(prefix="reco-bench-", dir=options.folder) as folder:
        scratch = Path(folder)
        jars = _extension_jars()
        settings = Settings(lake=Lake(root=str(scratch)), spark=Spark(driver_memory=options.memory, conf=jars))
        spark = spark_session("reco-bench", settings)
        for size in options.sizes:
            results[f"close, {size:,} a side"] = close(spark, settings, scratch, size, options.rounds, options.only)
        if options.records:
            with Broker(scratch / "home") as broker:
                told = settings.model_copy(update={"kafka": Kafka(bootstrap_servers=broker.bootstrap_servers)})
                stream.produce(broker, told, options.records // 2)
                key = f"normalise, {options.records:,} records"
                results[key] = stream.rounds(spark, told, scratch / "streams", options.rounds)
        if options.events:
            with Broker(scratch / "match") as broker:
                results |= _match(spark, settings, broker, scratch, options)
        if options.days:
            with Broker(scratch / "ageing") as broker:
                told = settings.model_copy(update={"kafka": Kafka(bootstrap_servers=broker.bootstrap_servers)})
                key = f"match, a batch of 200 events, {options.events_a_day:,} activities a day before it"
                results[key] = ageing.rounds(
                    *(spark, told, broker, scratch / "lakes", options.events_a_day, options.days, 10),
                    maintained=options.maintained,
                )
        peak = report.peak_of_jvm(spark)
        spark.stop()
    report.write(results, peak, RESULTS)


def _match(
    spark: SparkSession, settings: Settings, broker: Broker, scratch: Path, options: argparse.Namespace
) -> dict[str, dict[str, list[float]]]:
    told = settings.model_copy(update={"kafka": Kafka(bootstrap_servers=broker.bootstrap_servers)})
    caught = match.catch_up(spark, told, broker, scratch / "catch-up", options.events, options.rounds)
    lags = {}
    if options.rate:
        lags = match.steady(spark, told, broker, scratch / "steady", options.rate, options.seconds)
    parts = ("p50", "p95", "p99") if lags else ()
    at_rate = f"publication to verdict at {options.rate:,} events a second and side"
    return {
        f"match, {options.events:,} a side": {name: found.seconds for name, found in caught.items()},
        "its processor seconds": {name: found.cpu_seconds for name, found in caught.items()},
        "its state, GB": {name: [size / 1e9 for size in found.state_bytes] for name, found in caught.items()},
        **{f"{at_rate}, {n}": {name: [found[n]] for name, found in lags.items()} for n in parts},
    }


def close(
    spark: SparkSession, settings: Settings, scratch: Path, size: int, rounds: int, only: list[str]
) -> dict[str, list[float]]:
    """Seconds of each round of each contender, or of `only` those, on one day of `size` activities a side."""
    lake = settings.model_copy(update={"lake": Lake(root=str(data.folder(scratch, size)))})
    data.make_lake(spark, lake, size)
    contenders: Mapping[str, Contender] = {
        **spark_contenders(spark, lake, scratch / "bare"),
        **other_contenders(lake),
    }
    contenders = {name: run for name, run in contenders.items() if not only or name in only}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, run in contenders.items():
            gc.collect()
            started = time.monotonic()
            run()
            if number:  # the first round warms the JVM
                seconds[name].append(time.monotonic() - started)
            print(f"{size:,} round {number} {name}: {time.monotonic() - started:.1f} s", flush=True)
    print({name: round(statistics.median(taken), 2) for name, taken in seconds.items()}, flush=True)
    return seconds


def _extension_jars() -> dict[str, str]:
    import gresearch.spark

    found = list(Path(gresearch.spark.__file__).parents[2].rglob("spark-extension*.jar"))
    return {"spark.jars": ",".join(map(str, found))} if found else {}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=[1_000_000, 5_000_000], help="activities a side")
    parser.add_argument("--engines", type=int, nargs="*", help="activities a side: compare engines, and nothing else")
    parser.add_argument("--records", type=int, default=2_000_000, help="records to normalise; 0 for none")
    parser.add_argument("--events", type=int, default=1_000_000, help="events a side to match; 0 for none")
    parser.add_argument("--rate", type=int, default=2000, help="events a second and side, to measure lags; 0 for none")
    parser.add_argument("--seconds", type=int, default=120, help="for so long")
    parser.add_argument("--days", type=int, default=30, help="days of stored results under a small batch; 0 for none")
    parser.add_argument("--events-a-day", type=int, default=100_000, help="activities on each of them")
    parser.add_argument("--maintained", action="store_true", help="`reco maintain` has put the older tables in order")
    parser.add_argument("--only", nargs="*", default=[], help="contenders by name; else all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", default="3g", help="the driver's heap")
    parser.add_argument("--folder", default=None, help="where the scratch data goes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
