"""What may happen to the stream besides a kill: a damaged checkpoint, a day on which nothing happens."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.errors import StreamingQueryException
from pyspark.sql import SparkSession

from jobs.cli.broker import Broker
from jobs.common.errors import UserError
from jobs.common.progress_file import read_progress
from tests.oracle.normalise import Raw
from tests.streaming.nrt import Stream, beats, both, event


def _newest(folder: Path, pattern: str = "[0-9]*") -> Path:
    files = [path for path in folder.rglob(pattern) if path.is_file() and not path.name.endswith(".crc")]
    return max(files, key=lambda path: path.stat().st_mtime_ns)


def _offsets_cut_short(checkpoint: Path) -> None:
    _newest(checkpoint / "offsets").write_bytes(b"v1\n{")


def _commit_is_gone(checkpoint: Path) -> None:
    _newest(checkpoint / "commits").unlink()


def _state_is_garbage(checkpoint: Path) -> None:
    for path in checkpoint.joinpath("state").rglob("*"):
        if path.is_file() and path.suffix in (".delta", ".changelog", ".snapshot", ".zip"):
            path.write_bytes(b"\x00garbage\xff" * 50)


def _metadata_is_garbage(checkpoint: Path) -> None:
    (checkpoint / "metadata").write_text("nothing of the kind")


def _drop_checksums(checkpoint: Path) -> None:
    for path in checkpoint.rglob(".*.crc"):
        path.unlink()


DAMAGES = (_offsets_cut_short, _commit_is_gone, _state_is_garbage, _metadata_is_garbage)


@pytest.mark.parametrize(
    "damages", [DAMAGES[:1], pytest.param(DAMAGES[1:], marks=pytest.mark.long)], ids=["offsets", "others"]
)
@pytest.mark.parametrize("store", ["memory", pytest.param("rocksdb", marks=pytest.mark.long)])
def test_a_damaged_checkpoint_is_refused_or_mended_and_never_gives_a_wrong_row(
    spark: SparkSession, broker: Broker, tmp_path: Path, damages: tuple[Callable[[Path], None], ...], store: str
) -> None:
    stream = Stream(spark, broker, tmp_path, f"damage-{store}-{len(damages)}", state_store=store)
    stream.take(*both("m0", 0), *both("b0", 0, status="PAID"), event("agoda", "f0", 0), *beats(2))
    for number, damage in enumerate(damages, 1):
        checkpoint = Path(stream.settings.stream.checkpoint_root, "match")
        damage(checkpoint)
        _drop_checksums(checkpoint)  # else they alone would tell
        minutes = 10 * number
        news = [*both(f"m{number}", minutes), *both(f"b{number}", minutes, status="PAID")]
        _take_or_replay(stream, checkpoint, *news, event("agoda", f"f{number}", minutes), *beats(minutes + 2))
        for past in range(number + 1):
            kinds = {f"m{past}": [], f"b{past}": ["STATUS_MISMATCH"], f"f{past}": ["MISSING_SUPPLIER"]}
            found = {name: sorted(kind for of, kind in stream.exceptions() if of == name) for name in kinds}
            assert found == kinds, damage.__name__
            outcomes = [stream.outcomes(name) for name in kinds]
            assert outcomes == [["MATCHED"], ["MISMATCHED"], ["MISSING_SUPPLIER"]], damage.__name__
        assert set(stream.exceptions().values()) == {"OPEN"}


def _take_or_replay(stream: Stream, checkpoint: Path, *records: Raw) -> None:
    """Where the query refuses, do as the manual says: put the checkpoint away, and have it made anew."""
    stream.restart()
    stream.send(*records)
    try:
        stream.match()
    except (StreamingQueryException, UserError):
        shutil.rmtree(checkpoint)
        stream.restart()
        stream.match()


@pytest.mark.long
def test_a_day_of_heartbeats_costs_nothing_that_grows(spark: SparkSession, broker: Broker, tmp_path: Path) -> None:
    stream = Stream(spark, broker, tmp_path, "quiet")
    stream.take(*both("p", 0), *beats(0))
    held, versions = [], []
    for part in range(2):
        # Twelve hours of heartbeats, one each half hour.
        stream.take(*[beat for half in range(1, 25) for beat in beats(720 * part + 30 * half)])
        told: dict[str, Any] = read_progress(stream.settings, "match") or {}
        held.append(told["state_rows"])
        versions.append([stream.version(name) for name in ("activity", "nrt_results", "nrt_exceptions")])
    # Of heartbeats nothing is held.
    assert held == [0, 0]
    assert versions == [versions[0]] * 2
