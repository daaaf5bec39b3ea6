"""`reco demo`, whole, and what it does when something is wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from io import StringIO
from pathlib import Path
from unittest.mock import Mock

import pytest
from rich.console import Console

from jobs.cli import demo, demo_report
from jobs.cli.demo_steps import Memory, Steps, resident_bytes
from jobs.cli.main import main
from jobs.common.errors import UserError
from jobs.common.policies import parse_policies
from jobs.common.settings import Settings

ROOT = Path(__file__).parents[2]
DEMO = [sys.executable, "-m", "jobs.cli.main", "demo", "--activities", "300"]
WHOLE = [*DEMO, "--days", "1", "--json", "--home"]


def of(folder: Path) -> list[int]:
    """Processes whose command line or environment names the folder: what a demo there has started."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            text = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in text and int(process.name) != os.getpid():
            found.append(int(process.name))
    return found


def eventually(done: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True


def test_the_whole_demo_finds_exactly_what_was_planted_and_leaves_nothing_running(tmp_path: Path) -> None:
    home = tmp_path / "demo"
    done = subprocess.run([*WHOLE, str(home)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["right"] is True
    assert len(report["kinds"]) == 10
    assert all((kind["precision"], kind["recall"]) == ("1", "1") for kind in report["kinds"])
    assert report["records"]["holds"] is True
    assert report["records"]["as_planted"] is True
    # Each break is in both clocks but what another day mended or made: the stream judges a key once, a close each day.
    clocks = {row["anomaly_type"]: row for row in report["clocks"]}
    assert len(clocks) == 10
    assert all(row["stream_open"] >= row["in_both"] > 0 for row in clocks.values())
    assert all(row["in_both"] == row["closed"] for kind, row in clocks.items() if kind != "MISSING_SUPPLIER")
    ways = {way["way_in"]: way for way in report["ways"]}
    assert {name: (way["records"], way["planted"]) for name, way in ways.items()} == {
        "outbox": (68, 7),
        "poll": (27, 4),
        "push": (587, 24),
    }
    assert all(way["arrived"] and way["found"] == way["planted"] for way in ways.values())
    assert json.loads((home / "logs" / "relay.out").read_text())["published"] == 68
    assert {total["balances"] for total in report["control_totals"]} == {True}
    assert [told["anomaly_type"] for told in report["explanations"]] == list(demo_report.EXPLAINED)
    assert all(told["activity_id"] in told["text"].splitlines()[0] for told in report["explanations"])
    assert 0 < report["peak_bytes"] < 6 * 2**30
    assert (home / demo.MARK).exists()
    assert eventually(lambda: not of(home), 10), of(home)


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        # A broker, the process of Spark and another child run by then; at the other moment database and API too.
        (signal.SIGINT, "ecb.out"),
        pytest.param(signal.SIGINT, "stream.out", marks=pytest.mark.long),
        pytest.param(signal.SIGTERM, "stream.out", marks=pytest.mark.long),
    ],
)
def test_ctrl_c_ends_it_with_one_sentence_and_nothing_left_running(
    tmp_path: Path, number: signal.Signals, moment: str
) -> None:
    home = tmp_path / "demo"
    with subprocess.Popen(
        [*DEMO, "--home", str(home)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs tests in the background has them ignore Ctrl-C, and what they start as well.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    ) as process:
        assert eventually(lambda: (home / "logs" / moment).exists(), 120)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.strip() == "The demo was interrupted; everything it had started has ended."
    assert eventually(lambda: not of(home), 10), of(home)


def test_a_folder_that_is_not_the_demos_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="not empty and no demo made it"):
        demo._empty(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_a_folder_in_which_tables_are_not_found_is_refused_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["demo", "--home", str(tmp_path / "d d")])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"--home: the folder {tmp_path / 'd d'}/lake has a space in its path, with which readers")
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "d d").exists()


def test_a_folder_of_an_earlier_demo_is_emptied(tmp_path: Path) -> None:
    demo._empty(tmp_path)
    (tmp_path / "old").mkdir()
    demo._empty(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [demo.MARK]


def test_a_step_that_fails_is_named_with_the_last_lines_of_its_log(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import sys; print('near the end', file=sys.stderr); raise SystemExit(3)")
    steps = Steps(tmp_path, {"PYTHONPATH": str(tmp_path)}, Console(file=StringIO()))
    with (
        pytest.raises(UserError, match=r"(?s)step “Doing it”: .*broken.* ended with 3.*near the end") as caught,
        steps.step("Doing it"),
    ):
        steps.child("broken", "broken")
    assert caught.value.exit_code == 1


def test_a_childs_own_children_end_with_it(tmp_path: Path) -> None:
    (tmp_path / "forks.py").write_text("import subprocess; subprocess.Popen(['sleep', '600']); print('ok')")
    steps = Steps(tmp_path, {"PYTHONPATH": str(tmp_path)}, Console(file=StringIO()))
    assert steps.child("forks", "forks") == "ok\n"
    assert eventually(lambda: not of(tmp_path), 10)


def test_memory_counts_children_too() -> None:
    before = resident_bytes(os.getpid())
    assert before
    program = "x = bytearray(100_000_000); x[::4096] = b'1' * len(x[::4096]); input()"
    with Memory() as memory, subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE) as child:
        assert eventually(lambda: (memory.peak or 0) > before + 90_000_000, 10)
        child.communicate(b"\n")


def test_its_policies_are_valid_and_differ() -> None:
    policies = parse_policies(demo.POLICIES).policies
    assert {policy.mode for policy in policies.values()} == {"NRT_HOURLY", "DAILY_ONLY"}
    assert len({policy.grace for policy in policies.values()}) > 3


@pytest.mark.parametrize(("asked", "engine"), [("auto", "duckdb"), ("spark", "spark")])
def test_explanations_run_by_the_engine_of_a_users_command(tmp_path: Path, asked: str, engine: str) -> None:
    steps = Mock(**{"spark.return_value": "told\n"})
    known = demo.settings_of(Settings.model_validate({"daily": {"engine": asked}}), tmp_path)
    row = {"supplier_id": "SUP-1", "activity_id": "BK-1", "reco_date": date(2026, 10, 15), "anomaly_type": "X"}
    (told,) = demo._explain(steps, known, [row | {"severity": "LOW", "explanation": "why"}], ["--settings", "f"])
    assert told["text"] == "told"
    words = ("SUP-1", "BK-1", "--date", "2026-10-15", "--engine", engine, "--settings", "f")
    steps.spark.assert_called_once_with("explain-0", "explain", *words)


KEY = (date(2026, 10, 15), "SUP-001", "BK-1", "PRICE_MISMATCH")


@pytest.mark.parametrize(
    ("found", "precision", "recall"),
    [
        ({(KEY, Decimal("1.5")): 1}, 1, 1),
        ({(KEY, Decimal("1.6")): 1}, 0, 0),
        ({(KEY, Decimal("1.5")): 2}, Decimal("0.5"), 1),
        ({(KEY, Decimal("1.5")): 1, ((*KEY[:2], "BK-2", KEY[3]), None): 1}, Decimal("0.5"), 1),
        ({}, 0, 0),
    ],
)
def test_a_break_is_right_only_with_its_money_and_once(
    found: dict[tuple[demo_report.Key, Decimal | None], int], precision: Decimal, recall: Decimal
) -> None:
    (row,) = demo_report._by_kind({KEY: Decimal("1.500000")}, Counter(found))
    assert (row["precision"], row["recall"]) == (precision, recall)


def test_children_get_the_demos_lake_whatever_the_settings_say(tmp_path: Path) -> None:
    settings = demo.settings_of(Settings(), tmp_path, "127.0.0.1:7")
    environment = demo.environment_of(settings)
    assert environment["RECO_LAKE__ROOT"] == f"{tmp_path}/lake"
    assert environment["RECO_STREAM__CHECKPOINT_ROOT"] == f"{tmp_path}/lake/_checkpoints"
    assert environment["RECO_KAFKA__BOOTSTRAP_SERVERS"] == "127.0.0.1:7"
