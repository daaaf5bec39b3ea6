"""Where the jobs are sent: conf/deploy.yaml as a typed value."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from jobs.common.errors import UserError
from jobs.common.sections import Section, Text
from jobs.common.yaml_file import complaints, read_yaml

DEFAULT_FILE = Path("conf/deploy.yaml")
UNSET = "CHANGE-ME"


class Target(StrEnum):
    """A platform that is asked over its own interface."""

    EMR = "emr"
    EMR_SERVERLESS = "emr-serverless"
    DATABRICKS = "databricks"


class Job(StrEnum):
    """A job that can be submitted."""

    STREAMING = "streaming"
    DAILY = "daily"


class Emr(Section):
    """A cluster of EMR on EC2."""

    cluster_id: str = UNSET
    settings: Path = Path("conf/emr.yaml")


class EmrServerless(Section):
    """An application of EMR Serverless; max_cpu and max_memory bound what it may cost at a time."""

    application: str = "reco"
    release: str = "emr-spark-8.0.0"
    role_arn: str = UNSET
    python_archive: str | None = None
    max_cpu: str = Field(default="64 vCPU", pattern=r"^[1-9][0-9]* ?(vCPU|vcpu|VCPU)?$")
    max_memory: str = Field(default="256 GB", pattern=r"^[1-9][0-9]* ?(GB|gb|G|g)?$")
    settings: Path = Path("conf/emr.yaml")


class Databricks(Section):
    """A workspace of Databricks and the clusters that its jobs get."""

    host: str = UNSET
    token: str = "env:DATABRICKS_TOKEN"  # noqa: S105 where it is, not what it is
    folder: str = Field(default="/Workspace/Shared/reco", pattern=r"^/Workspace/[^\s]*[^/\s]$")
    spark_version: str = "17.3.x-scala2.13"
    node_type: str = "m7gd.xlarge"
    workers: int = Field(default=2, ge=1, le=1000)
    notify: list[str] = Field(default_factory=list)
    settings: Path = Path("conf/databricks.yaml")


class Deploy(Section):
    """Everything that `reco deploy` is told."""

    name: str = Field(default="reco", pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,30}$")
    bucket: str = UNSET
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9/_.-]*[A-Za-z0-9]$")] = "reco/deploy"
    packages: list[str] = Field(default_factory=list)
    jars: list[str] = Field(default_factory=list)
    spark_conf: dict[str, Text] = Field(default_factory=dict)
    emr: Emr = Field(default_factory=Emr)
    emr_serverless: EmrServerless = Field(default_factory=EmrServerless)
    databricks: Databricks = Field(default_factory=Databricks)
    file: Path = Field(default=DEFAULT_FILE, exclude=True)

    def needed(self, key: str) -> str:
        """The value of a key that must be filled in, like `emr.cluster_id`. UserError where it is not."""
        value: object = self
        for part in key.split("."):
            value = getattr(value, part)
        if value == UNSET or not value:
            raise UserError(f"{self.file}: {key}: is not filled in; write it there, or give another file with --to.")
        return str(value)

    def settings_of(self, target: Target) -> Path:
        """The settings file that the jobs get on this platform."""
        section: Emr | EmrServerless | Databricks = getattr(self, target.value.replace("-", "_"))
        return section.settings


def read_deploy(path: Path | None = None) -> Deploy:
    """Read conf/deploy.yaml, or the file given. Raises UserError that names file, line and key."""
    document = read_yaml(path or DEFAULT_FILE, "deployment file")
    if "file" in document.data:
        raise document.error(("file",), "unknown key")
    try:
        return Deploy(**document.data, file=document.path)
    except ValidationError as error:
        raise UserError("\n".join(document.sentence(*item) for item in complaints(error))) from error
