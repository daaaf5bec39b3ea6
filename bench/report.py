"""The table and the plot. A part that a run left out stays as the last run that measured it found it."""

import json
import statistics
from datetime import UTC, datetime
from pathlib import Path

import matplotlib as mpl
from pyspark.sql import SparkSession

mpl.use("Agg")
from matplotlib import pyplot as plt  # the backend must be chosen first

Results = dict[str, dict[str, list[float]]]


def peak_of_jvm(spark: SparkSession) -> int:
    """The most memory the JVM ever had resident, bytes."""
    gateway = spark.sparkContext._jvm
    assert gateway is not None
    pid = gateway.java.lang.ProcessHandle.current().pid()
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0


def write(results: Results, peak: int, folder: Path) -> None:
    """Print the table; keep it as latest.md, what it is made from as latest.json, and the plot as latest.svg.

    `results`: seconds by what was measured and contender. `peak`: bytes of memory of this run's JVM.
    """
    folder.mkdir(exist_ok=True)
    file = folder / "latest.json"
    kept = json.loads(file.read_text()) if file.exists() else {}
    day = datetime.now(UTC).date().isoformat()
    kept |= {what: {"on": day, "jvm_peak_bytes": peak, "seconds": seconds} for what, seconds in results.items()}
    file.write_text(json.dumps(kept, indent=1) + "\n")
    lines = [
        "| what | on | contender | median s | min s | max s | ours is … of its time | peak of the run's JVM, GiB |",
        "|---|---|---|---:|---:|---:|---:|---:|",
    ]
    for what, found in kept.items():
        ours = statistics.median(next(iter(found["seconds"].values())))
        for name, taken in found["seconds"].items():
            median = statistics.median(taken)
            lines.append(
                f"| {what} | {found['on']} | {name} | {median:.2f} | {min(taken):.2f} | {max(taken):.2f} "
                f"| {ours / median:.2f} | {found['jvm_peak_bytes'] / 2**30:.2f} |"
            )
    text = "\n".join(lines) + "\n"
    print(text)
    (folder / "latest.md").write_text(text)
    _plot({what: found["seconds"] for what, found in kept.items()}, folder / "latest.svg")


def _plot(results: Results, file: Path) -> None:
    figure, axes = plt.subplots(len(results), 1, figsize=(8, 2.2 * len(results)), squeeze=False)
    for axis, (what, seconds) in zip(axes[:, 0], results.items(), strict=True):
        names = list(seconds)[::-1]
        axis.barh(names, [statistics.median(seconds[name]) for name in names])
        axis.set_title(f"{what}: median seconds", loc="left", fontsize=9)
        axis.tick_params(labelsize=8)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
