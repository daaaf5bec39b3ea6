"""Where the jars of Spark and of the local broker are; tools/bootstrap.sh puts them there (`make setup`)."""

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from jobs.common.errors import UserError

COMPLETE = ".complete"


def cache_dir() -> Path:
    """`$XDG_CACHE_HOME/reco`, or `~/.cache/reco`: outside the checkout, shared by all checkouts of this user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reco"


def spark_jars() -> list[Path]:
    """Delta and the Kafka source for the installed pyspark, beside what it ships. Raises UserError where absent."""
    try:
        spark = version("pyspark")
    except PackageNotFoundError:
        raise UserError("pyspark is not installed here: run `make setup`, or install reco[local].") from None
    return _jars("spark40" if spark.startswith("4.0.") else "spark")


def s3_jars() -> list[Path]:
    """What Spark needs for a lake on S3 (`s3a://`) besides. Raises UserError where absent."""
    return _jars("s3")


def broker_jars() -> list[Path]:
    """A Kafka broker, whole. Raises UserError where absent."""
    return _jars("broker")


def class_archive() -> Path:
    """Where tools/class_archive.py keeps the classes that jobs load here: beside the packages that it holds for."""
    return Path(sys.prefix) / "reco-classes.jsa"


def _jars(configuration: str) -> list[Path]:
    folder = cache_dir() / "jars" / configuration
    found = sorted(folder.glob("*.jar"))
    if not found or not (folder / COMPLETE).exists():
        raise UserError(f"The jars of {configuration} are not in {folder}: run `make setup` in the checkout.")
    return found
