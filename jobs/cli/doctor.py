"""`reco doctor`: looks at everything a run needs and says how to mend what is wrong."""

import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from jobs.cli import demo_console, services
from jobs.cli.broker import TEN_YEARS_MS
from jobs.cli.supervisor import read_state
from jobs.common import fx, kafka, policies
from jobs.common.command import one_line
from jobs.common.errors import DONE, FAILED, UserError
from jobs.common.jars import broker_jars, spark_jars
from jobs.common.kafka_reach import partitions, stream_rights
from jobs.common.lake import missing_file, open_table
from jobs.common.options import AsJson, Debug, SettingsFile
from jobs.common.output import print_json, print_table
from jobs.common.policy_file import parse_policies
from jobs.common.settings import Settings, load_settings
from schemas.tables import TABLES

JAVA_AT_LEAST = 17
_AHEAD = "message.timestamp.after.max.ms"
FX_DAYS = 7  # a rate older than this is not used


@dataclass(frozen=True)
class Check:
    """What was looked at, what was found, and how to mend it where it is not well, or `warns` of what may come."""

    name: str
    ok: bool
    found: str
    remedy: str = ""
    warns: bool = False


def command(settings_file: SettingsFile = None, as_json: AsJson = False, debug: Debug = False) -> int:
    """Check Java, Spark, jars, broker, lake, policies, FX, console, alerts, and say how to mend each.

    Exit code 1 if any fails.
    """
    settings = load_settings(settings_file)
    checks = [_guarded(name, look, settings) for name, look in CHECKS.items()]
    ok = all(check.ok for check in checks)
    if as_json:
        print_json({"ok": ok, "checks": [asdict(check) for check in checks]})
    else:
        marks = ["NO" if not check.ok else "!" if check.warns else "ok" for check in checks]
        rows = [(mark, check.name, check.found, check.remedy) for mark, check in zip(marks, checks, strict=True)]
        print_table("reco doctor", ("", "what", "found", "how to mend it"), rows)
    return DONE if ok else FAILED


def _guarded(name: str, look: Callable[[Settings], Check], settings: Settings) -> Check:
    try:
        return look(settings)
    except UserError as error:
        # Cut at a colon, it would be cut within what somebody else said.
        return Check(name, False, one_line(UserError(error.fact), 1000), error.remedy.rstrip(".") or "as it says")
    except Exception as error:  # a check that breaks is a finding too
        return Check(name, False, one_line(error), "run `reco doctor --debug`")


def _java(_settings: Settings) -> Check:
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else "java"
    remedy = f"install Java {JAVA_AT_LEAST} and put it on PATH, or let JAVA_HOME name it"
    try:
        told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return Check("Java", False, f"{java} does not run", remedy)
    found = re.search(r'version "((?:1\.)?(\d+)[^"]*)"', told.stderr + told.stdout)
    if not found:
        return Check("Java", False, f"{java} does not say its version", remedy)
    ok = int(found[2]) >= JAVA_AT_LEAST
    return Check("Java", ok, found[1], "" if ok else remedy)


def _spark(_settings: Settings) -> Check:
    try:
        found = version("pyspark")
    except PackageNotFoundError:
        return Check("Spark", False, "pyspark is not installed", "pip install 'reco[local]', or `make setup`")
    ok = found.startswith(("4.0.", "4.1."))
    return Check("Spark", ok, f"pyspark {found}", "" if ok else "install pyspark 4.1.1")


def _jars(settings: Settings) -> Check:
    ours = settings.spark.jars
    if ours is not None:
        missing = [jar for jar in ours if "://" not in jar and not Path(jar).exists()]
        found = f"{len(ours)} named in spark.jars, {len(missing)} missing"
        return Check("jars", not missing, found, f"correct spark.jars: {missing[0]}" if missing else "")
    return Check("jars", True, f"{len(spark_jars())} for Spark, {len(broker_jars())} for the broker")


def _broker(settings: Settings) -> Check:
    servers, names = kafka.bootstrap_servers(settings), kafka.topic_names(settings)
    there = partitions(settings, stream_rights(settings.topics), may_lack=names, seconds=5)
    missing = [name for name in names if name not in there]
    if missing:
        return Check(
            "broker", False, f"{servers} lacks {', '.join(missing)}", "`reco up` makes them, or your Kafka's owner"
        )
    road = settings.kafka.security
    how = {"PLAINTEXT": ", without TLS", "SSL": ", by TLS"}.get(road.protocol, f", by TLS as {road.username}")
    found = Check("broker", True, f"{servers}{how}, all {len(names)} topics")
    raw = (settings.topics.agoda_raw, settings.topics.supplier_raw)
    told = kafka.topic_setting(settings, raw, _AHEAD)
    lax = " and ".join(name for name in raw if name in told and int(told[name]) > TEN_YEARS_MS)
    if not lax:
        return found
    why = f"{found.found}; a record with a time of more than ten years ahead, like one in nanoseconds, gets into {lax} "
    why += "and ends the query normalise, for Spark cannot read it"
    return replace(found, found=why, remedy=f"set {_AHEAD} of {lax} to 86400000, a day", warns=True)


def _lake(settings: Settings) -> Check:
    root = settings.lake.root
    if settings.is_local_lake:
        folder = Path(root)
        nearest = next(parent for parent in (folder, *folder.parents) if parent.exists())
        if not os.access(nearest, os.W_OK):
            return Check(
                "lake", False, f"{nearest} cannot be written to", "give yourself write permission, or set lake.root"
            )
    there = {name: table for name in TABLES if (table := open_table(settings, name)) is not None}
    for name, table in there.items():
        if gone := missing_file(settings.table_path(name), table):
            return Check(
                "lake",
                False,
                f"{gone} is gone, which the table's log has",
                "put it back, or a backup of all into an empty lake: reco restore (docs/maintenance.md)",
            )
    return Check("lake", True, f"{root}, {len(there)} of {len(TABLES)} tables made so far")


def _policies(settings: Settings) -> Check:
    number, current = policies.current_policies(settings)
    if settings.policies_file.exists():
        parse_policies(settings.policies_file)
    if number == 0:
        file = settings.policies_file
        return Check("policies", False, "none applied, the built-in defaults hold", f"reco policies apply {file}")
    return Check("policies", True, f"version {number}, {len(current) - 1} suppliers listed")


def _fx(settings: Settings) -> Check:
    rates = fx.current_rates(settings)
    remedy = "reco fx load FILE (rate_date,currency,usd_per_unit)"
    if rates.is_empty():
        return Check("FX", False, "no rates loaded", remedy)
    last = max(rates["rate_date"].to_list())
    age = (datetime.now(UTC).date() - last).days
    found = f"{rates['currency'].n_unique()} currencies, the latest rates of {last} ({age} days ago)"
    return Check("FX", age <= FX_DAYS, found, "" if age <= FX_DAYS else remedy)


def _console(settings: Settings) -> Check:
    found = _service("console", settings, settings.local.console)
    for home in dict.fromkeys(folder.absolute() for folder in (settings.local.home, demo_console.HOME)):
        if left := demo_console.still_running(home):
            url, pid = left
            stop = f"stop the demo's with: kill {pid}"
            also = f"{found.found}; a demo left one at {url} on {demo_console.shown_path(home)}/lake"
            found = replace(found, found=also, remedy="; ".join(filter(None, (found.remedy, stop))))
    return found


def _alerts(settings: Settings) -> Check:
    return _service("alerts", settings, settings.local.alerts)


def _service(name: str, settings: Settings, wanted: bool) -> Check:
    """What is not set up is no fault; what is, and does not run beside a running stack, is one."""
    if not wanted:
        return Check(name, True, "`reco up` does not run it", f"set local.{name} to true where it should")
    if why := services.lacking(name, settings):
        found, _, remedy = why.partition(": ")
        return Check(name, True, f"not set up, {found}", remedy)
    told = read_state(settings.local.home) or {}
    if f"{name}_pid" not in told:
        return Check(name, True, "set up, and not running", f"start it with `reco up`, or alone: reco {name}")
    if told[f"{name}_pid"] is None:
        why = told[f"{name}_why"] or "it ended, and is started again"
        return Check(name, False, f"does not run: {why}", f"see {settings.local.home}/{name}.log")
    return Check(name, True, f"answers at {told['console']}" if name == "console" else "runs")


CHECKS: dict[str, Callable[[Settings], Check]] = {
    "Java": _java,
    "Spark": _spark,
    "jars": _jars,
    "broker": _broker,
    "lake": _lake,
    "policies": _policies,
    "FX": _fx,
    "console": _console,
    "alerts": _alerts,
}
