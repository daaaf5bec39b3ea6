"""What goes to the platform, each file under a name made of its content: what is there already needs no upload."""

import hashlib
import io
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jobs.common.errors import FAILED, UserError
from jobs.common.settings import load_settings
from jobs.deploy.config import Deploy, Job, Target

#: How many hexadecimal digits of a SHA-256 stand in a name: 64 bits.
DIGITS = 16
#: Beyond the settings file; who is alerted and who may sign in is no business of the jobs.
_SHARED = ("policies.yaml", "fx.csv", "formats/**/*.yaml", "formats/**/*.avsc", "formats/**/*.xsd")


@dataclass(frozen=True)
class Artifact:
    """A file to send: its name there, and its content."""

    name: str
    content: bytes


@dataclass(frozen=True)
class Bundle:
    """All files of one deployment. `settings` is where the settings file lies once `conf` is unpacked as ./conf."""

    code: Artifact
    entry: Artifact
    conf: Artifact
    jars: Artifact
    settings: str

    def __iter__(self) -> Iterator[Artifact]:
        return iter((self.code, self.entry, self.conf, self.jars))


def bundle(deploy: Deploy, target: Target, job: Job, settings: Path | None = None, root: Path = Path()) -> Bundle:
    """Build what is sent for a job. `root` is the checkout. Raises UserError where it is none or settings are wrong."""
    code = zipped_wheel(root)
    file = settings or deploy.settings_of(target)
    load_settings(root / file)  # a slip of the pen is found here, not by a cluster that was paid for
    entry = (root / "jobs" / job / "__main__.py").read_bytes()
    conf = _zip(root / file)
    listed = "".join(f"{line}\n" for line in [*deploy.packages, *deploy.jars]).encode()
    return Bundle(
        Artifact(code.name, code.read_bytes()),
        Artifact(f"{job}-{digest(entry)}.py", entry),
        Artifact(f"conf-{digest(conf)}.zip", conf),
        Artifact(f"jars-{digest(listed)}.txt", listed),
        f"conf/{file.name}",
    )


def digest(content: bytes) -> str:
    """The beginning of the SHA-256, as it stands in names."""
    return hashlib.sha256(content).hexdigest()[:DIGITS]


def zipped_wheel(root: Path) -> Path:
    """The wheel named .zip, built where the code has changed since."""
    tool = root / "tools" / "pyfiles.py"
    if not tool.exists():
        raise UserError(f"There is no checkout in {root.absolute()} (tools/pyfiles.py is missing): deploy from one.")
    told = subprocess.run([sys.executable, "-B", str(tool)], capture_output=True, text=True, check=False)
    if told.returncode:
        raise UserError(f"The wheel could not be built: {told.stderr.strip()[-300:]}", FAILED)
    return Path(told.stdout.strip())


def _zip(settings: Path) -> bytes:
    """The settings file and what stands beside it; the same bytes for the same files."""
    folder = settings.parent
    found = {settings.name: settings}
    for pattern in _SHARED:
        found |= {str(path.relative_to(folder)): path for path in folder.glob(pattern) if path.is_file()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, path in sorted(found.items()):
            member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            member.external_attr = 0o644 << 16
            archive.writestr(member, path.read_bytes(), zipfile.ZIP_DEFLATED, 9)
    return buffer.getvalue()
