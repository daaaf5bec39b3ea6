"""Where a lake may lie: a folder of this machine, or a store of objects."""

import os
import re
from pathlib import Path
from typing import Any

from jobs.common.errors import UserError

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
#: Stores of objects that both Spark's readers and those without a JVM know.
_STORES = ("s3a", "s3", "gs", "abfs", "abfss")


def as_lake_root(value: Any) -> Any:
    """A local path becomes absolute, seen from the current directory; a URI loses only its trailing slashes."""
    if not isinstance(value, str):
        return value
    if not value.strip():
        raise ValueError("must not be empty; give a folder, or a URI like s3a://bucket/lake")
    scheme = SCHEME.match(value)
    if scheme is None:
        return _readable(str(Path(value).expanduser().absolute()))
    if scheme.group(1).lower() == "file":
        return _readable(str(Path("/" + value[len("file:") :].lstrip("/"))))
    return value.rstrip("/")


def as_lake(value: Any) -> Any:
    """As `as_lake_root`, for tables: a place where readers would find nothing must not pass for an empty lake."""
    root = as_lake_root(value)
    if not isinstance(root, str):
        return root
    scheme = SCHEME.match(root)
    if scheme is not None and scheme.group(1).lower() not in _STORES:
        raise ValueError(
            f"{scheme.group(1)}: is no place that all readers of a lake know; give a folder, or a URI of "
            f"{', '.join(_STORES)}"
        )
    there = next((str(one) for one in (Path(root), *Path(root).parents) if os.path.exists(one)), None)  # noqa: PTH110
    if scheme is None and there is not None and not Path(there).is_dir():
        raise ValueError(f"{there} is a file; give a folder, in which the tables are")
    return root


def place_of(name: str, value: str) -> str:
    """As `as_lake_root`, of what somebody typed as `name`. UserError where it cannot be used."""
    try:
        return str(as_lake_root(value))
    except ValueError as error:
        raise UserError(f"{name}: {error}.") from None


def _readable(path: str) -> str:
    # deltalake spells these otherwise in the address of a file, and it and Polars then look for that spelling.
    if strange := sorted(set(re.findall(r"""[^!$&'()*+,\-./0-9:;@A-Z_a-z~]""", path))):
        shown = ", ".join("a space" if sign == " " else sign for sign in strange)
        raise ValueError(
            f"the folder {path} has {shown} in its path, with which readers without a JVM do not find the tables' "
            "files; give a folder whose path has only letters a to z, digits and . _ - /"
        )
    return path
