"""A close as files: Parquet or CSV, a manifest that holds the SHA-256 of each, and a detached signature of that."""

import hashlib
import hmac
import json
import os
import re
import shutil
import tempfile
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from jobs.common.errors import FAILED, UserError
from jobs.warehouse.close_rows import PARTS, Close

MANIFEST, SIGNATURE = "manifest.json", "manifest.json.sig"
FORMAT = "reco-close/1"
_ALGORITHM = "hmac-sha256"
#: What a spreadsheet takes for a formula at the start of a text; and the guard itself, so that it can be taken off.
_GUARDED = r"^[=+\-@\t\r\n']"
_LEAST_KEY = 16
_BLOCK = 1 << 20


def write_bundle(close: Close, target: Path, form: str, key: str | None, code_version: str) -> dict[str, Any]:
    """Write the folder `target`, which must be empty or not there, in one step; returns the manifest.

    `form`: parquet or csv. `key`: what signs it, at least 16 characters; None leaves it unsigned.
    """
    if key is not None and len(key.encode()) < _LEAST_KEY:
        raise UserError(f"warehouse.signing_key: a key of fewer than {_LEAST_KEY} bytes is guessed; use a longer one.")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(
            f"--to {target}: it is there and not empty; name a new folder, a close is never mixed with one."
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            manifest = _fill(scratch, close, form, key, code_version)
            scratch.chmod(0o755)
            os.replace(scratch, target)  # noqa: PTH105  (Path.replace is the same; a folder in place of an empty one)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise UserError(f"--to {target}: {error.strerror or error}; nothing was written.", FAILED) from error
    return manifest


def _fill(folder: Path, close: Close, form: str, key: str | None, code_version: str) -> dict[str, Any]:
    files = []
    for name, short in PARTS.items():
        path = folder / f"{short}.{form}"
        rows = close.tables[name]
        if form == "csv":
            csv_rows(rows).write_csv(path, include_header=True)
        else:
            rows.write_parquet(path, compression="zstd")
        told = {"name": path.name, "table": f"gold/{name}", "rows": len(rows), "tableVersion": close.versions[name]}
        files.append({**told, "bytes": path.stat().st_size, "sha256": sha256_of(path)})
    row = dict(close.row)
    manifest = {
        "format": FORMAT,
        "closeId": row["close_id"],
        "contentHash": row["content_hash"],
        "exportedBy": f"reco {code_version}",
        "textGuard": "'" if form == "csv" else None,
        "controlTotals": _camel(row.pop("control_totals")),
        "close": _camel(row),
        "files": files,
    }
    text = json.dumps(manifest, ensure_ascii=False, indent=2, default=_plain) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    if key is not None:
        (folder / SIGNATURE).write_text(f"{_ALGORITHM}:{signature_of(text.encode(), key)}\n", encoding="ascii")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def signature_of(manifest: bytes, key: str) -> str:
    """HMAC-SHA256 (RFC 2104) of the manifest's bytes, hexadecimal."""
    return hmac.new(key.encode(), manifest, hashlib.sha256).hexdigest()


def verify_bundle(folder: Path, key: str | None) -> tuple[dict[str, Any], list[str]]:
    """The manifest, and what is wrong with the folder: nothing where it is whole and untouched.

    `key` None: only whether it is whole is looked at. UserError where there is no manifest that can be read.
    """
    path = folder / MANIFEST
    try:
        text = path.read_bytes()
        manifest = json.loads(text)
        is_ours = isinstance(manifest, dict) and manifest.get("format") == FORMAT
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; it is no exported close.") from error
    except ValueError:
        is_ours, manifest = False, {}
    wrong = [] if key is None else _signature_faults(folder, text, key)
    if not is_ours:
        return {}, [*wrong, f"{MANIFEST}: not a manifest of the format {FORMAT}"]
    try:
        return manifest, [*wrong, *_file_faults(folder, manifest)]
    except (KeyError, TypeError) as error:
        return manifest, [*wrong, f"{MANIFEST}: {error} is missing or no value of its kind"]


def _signature_faults(folder: Path, manifest: bytes, key: str) -> list[str]:
    path = folder / SIGNATURE
    if not path.exists():
        return [f"{SIGNATURE}: missing, so nobody says that the manifest is genuine"]
    found = path.read_bytes().strip()
    if hmac.compare_digest(found, f"{_ALGORITHM}:{signature_of(manifest, key)}".encode()):
        return []
    return [f"{SIGNATURE}: not the signature of this {MANIFEST} by this key"]


def _file_faults(folder: Path, manifest: dict[str, Any]) -> list[str]:
    wrong = []
    listed = {MANIFEST, SIGNATURE}
    for file in manifest["files"]:
        name = str(file["name"])
        if not re.fullmatch(r"[a-z]+\.(parquet|csv)", name):
            wrong.append(f"{MANIFEST}: {name!r} is no name of a file of a close")
            continue
        listed.add(name)
        path = folder / name
        if not path.is_file():
            wrong.append(f"{name}: missing")
        elif path.stat().st_size != file["bytes"] or sha256_of(path) != file["sha256"]:
            wrong.append(f"{name}: not the file that was exported, its SHA-256 differs")
    wrong += [f"{path.name}: was not exported" for path in sorted(folder.iterdir()) if path.name not in listed]
    if {file["table"] for file in manifest["files"]} != {f"gold/{name}" for name in PARTS}:
        wrong.append(f"{MANIFEST}: facts or anomalies are not among its files")
    return wrong


def sha256_of(path: Path) -> str:
    """Of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def csv_rows(rows: pl.DataFrame) -> pl.DataFrame:
    """As CSV has them: lists as JSON, times in ISO 8601; a text that a spreadsheet would run, or that begins with an
    apostrophe, has an apostrophe before it, so that taking one off each such text gives back what it was.
    """

    def told(name: str, kind: pl.DataType) -> pl.Expr:
        column = pl.col(name)
        if isinstance(kind, pl.List):
            return column.map_elements(_json, return_dtype=pl.String)
        if isinstance(kind, pl.Datetime):
            return column.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
        if kind == pl.String:
            return pl.when(column.str.contains(_GUARDED)).then(pl.lit("'") + column).otherwise(column).alias(name)
        return column

    return rows.select([told(name, kind) for name, kind in rows.schema.items()])


def _json(values: pl.Series) -> str:
    return json.dumps(values.to_list(), ensure_ascii=False, default=_plain)


def _camel(value: Any) -> Any:
    """A row of the tables as JSON has it; the keys of maps are data and stay."""
    if isinstance(value, list):
        return [_camel(one) for one in value]
    if isinstance(value, dict):
        return {re.sub(r"_([a-z0-9])", lambda m: m[1].upper(), key): _camel(one) for key, one in value.items()}
    return value


def _plain(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"no JSON for {type(value).__name__}")
