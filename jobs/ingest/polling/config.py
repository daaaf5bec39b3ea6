"""The suppliers' files, conf/suppliers/*.yaml: how each API is asked, checked whole before anything is asked."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qsl

from pydantic import BaseModel, Field, SkipValidation, ValidationError

from jobs.common.errors import UserError
from jobs.common.log import HIDDEN, hide_secrets
from jobs.common.yaml_file import Document, Key, complaints, read_yaml
from jobs.ingest.polling.config_parts import (
    AUTHS,
    PAGINGS,
    Address,
    Auth,
    JsonPath,
    Paging,
    Part,
    Rate,
    SincePaging,
    Size,
    Text,
    Timeouts,
    Tls,
    between,
    is_open,
)

_FORMAT = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_BY_REFERENCE = "looks like a secret; give it under auth, by reference"
_OURS = ("accept-encoding", "connection", "content-length", "host", "transfer-encoding")


class SupplierApi(Part):
    """One supplier's API. Durations in seconds, sizes in bytes, `rate_limit` in requests a second.

    `key` is where an item says its activityId, `event_id` its own event id if it has one, `ignore` are names in an
    item that change with each reading. `format` only tells readers which format the policies name for this supplier.
    """

    supplier: str = Field(min_length=1, max_length=128)
    url: Address
    headers: Mapping[str, Text] = Field(default_factory=dict)
    params: Mapping[str, Text] = Field(default_factory=dict)
    auth: SkipValidation[Auth | None] = None
    paging: SkipValidation[Paging]
    items: JsonPath
    key: JsonPath = ("activityId",)
    event_id: JsonPath | None = None
    ignore: frozenset[str] = frozenset()
    rate_limit: Rate = Decimal(5)
    every: Annotated[int, between("1s", "24h")] = 60
    overlap: Annotated[int, between("0s", "24h")] = 300
    timeouts: Timeouts = Timeouts()
    max_bytes: Size = 8 * 1_048_576
    max_pages: int = Field(default=10_000, ge=1, le=1_000_000)
    remember: int = Field(default=20_000, ge=0, le=1_000_000)
    format: str | None = Field(default=None, pattern=_FORMAT)
    tls: Tls = Tls()
    file: SkipValidation[str] = ""

    @property
    def place(self) -> str:
        """Scheme, host and path of the address, as errors and logs name it: a query could hold secrets."""
        return self.url.partition("?")[0].partition("#")[0]


def read_suppliers(folder: Path) -> list[SupplierApi]:
    """Every supplier's API of the folder, by file name.

    UserError names file, line and key of everything that is wrong in any of them.
    """
    files = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])
    if not files:
        raise UserError(
            f"There is no supplier's file (*.yaml) in {folder}; write one as docs/poll.md shows, or set poll.folder."
        )
    found: dict[str, SupplierApi] = {}
    wrong: list[str] = []
    for file in files:
        try:
            api = read_supplier(file)
        except UserError as error:
            wrong.append(str(error))
            continue
        if (other := found.get(api.supplier)) is not None:
            wrong.append(f"{file}: supplier: {api.supplier!a} is described in {other.file} too; keep one of them.")
        found.setdefault(api.supplier, api)
    if wrong:
        raise UserError("\n".join(wrong))
    return list(found.values())


def read_supplier(path: Path) -> SupplierApi:
    """Reads and checks one supplier's file; UserError names file, line and key of everything that is wrong."""
    document = read_yaml(path, "supplier's file")
    wrong: list[tuple[Key, str]] = []
    auth = _chosen(document, "auth", AUTHS, wrong) if "auth" in document.data else None
    paging = _chosen(document, "paging", PAGINGS, wrong)
    plain = {name: value for name, value in document.data.items() if name not in ("auth", "paging")}
    if "file" in plain:
        wrong.append((("file",), "unknown key"))
    try:
        api = SupplierApi(**{**plain, "auth": auth, "paging": paging, "file": str(path)})
    except ValidationError as error:
        wrong += complaints(error, _known(SupplierApi))
    else:
        wrong += _together(api) if paging is not None else []
    wrong += _written(document.data)
    if wrong:
        in_order = sorted(wrong, key=lambda item: document.line(item[0]))
        raise UserError("\n".join(document.sentence(*item) for item in in_order))
    return api


def _chosen(document: Document, name: str, kinds: Mapping[str, type[Part]], wrong: list[tuple[Key, str]]) -> Any:
    """The part whose `kind` says which it is; what is wrong with it is added to `wrong`."""
    written = document.data.get(name)
    if not isinstance(written, dict):
        wrong.append(((name,), "must be a mapping of keys to values" if name in document.data else "is missing"))
        return None
    kind = kinds.get(str(written.get("kind")))
    if kind is None:
        wrong.append(((name, "kind"), f"must be one of {', '.join(kinds)}"))
        return None
    try:
        return kind.model_validate({key: value for key, value in written.items() if key != "kind"})
    except ValidationError as error:
        wrong += [((name, *key), what) for key, what in complaints(error, _known(kind))]
        return None


def _together(api: SupplierApi) -> list[tuple[Key, str]]:
    """What is wrong though each value is right by itself."""
    found: list[tuple[Key, str]] = []
    addresses: list[tuple[Key, str]] = [(("url",), api.url)] if api.auth is not None else []
    if (token_url := getattr(api.auth, "token_url", None)) is not None:
        addresses.append((("auth", "token_url"), token_url))
    found += [(key, "must be https where there is auth") for key, url in addresses if is_open(url)]
    if any("\ud800" <= letter <= "\udfff" for letter in api.supplier):
        found.append((("supplier",), "must be proper Unicode, without lone surrogates"))
    if isinstance(api.paging, SincePaging):
        found += _since(api, api.paging)
    return found


def _written(data: Mapping[str, Any]) -> list[tuple[Key, str]]:
    """What is wrong with headers, params and addresses, whatever else is."""
    found: list[tuple[Key, str]] = []
    parts = {part: names for part in ("headers", "params") if isinstance(names := data.get(part), dict)}
    for name, value in parts.get("headers", {}).items():
        if str(name).lower() in _OURS:
            found.append((("headers", name), "is set by the poller itself"))
        if not _HEADER.fullmatch(str(name)) or not str(value).isascii() or not str(value).isprintable():
            found.append((("headers", name), "has letters that no header may have; write it in plain ASCII"))
    for part, names in parts.items():
        found += [((part, name), _BY_REFERENCE) for name in names if _is_secret(str(name))]
    auth = data.get("auth")
    addresses: list[tuple[Key, Any]] = [(("url",), data.get("url"))]
    if isinstance(auth, dict):
        addresses.append((("auth", "token_url"), auth.get("token_url")))
    for key, url in addresses:
        if isinstance(url, str) and any(_is_secret(name) for name, _ in parse_qsl(url.partition("?")[2], True)):
            found.append((key, _BY_REFERENCE))
    return found


def _since(api: SupplierApi, paging: SincePaging) -> list[tuple[Key, str]]:
    found: list[tuple[Key, str]] = []
    if api.overlap == 0:
        found.append((("overlap",), "must be at least 1s for updated_since: several items can have one time"))
    if paging.start is not None and read_time(paging.start) is None:
        found.append((("paging", "start"), "must be a time with its offset, like 2026-03-01T00:00:00Z"))
    elif paging.start is not None and is_future(paging.start):
        found.append(
            (("paging", "start"), "lies in the future, from where nothing would be read; give a time before now")
        )
    return found


def read_time(text: str) -> datetime | None:
    """A time with its offset from UTC; None where the text is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def is_future(text: str) -> bool:
    """Whether a time with its offset is later than this machine's clock."""
    at = read_time(text)
    return at is not None and at > datetime.now(UTC)


def _is_secret(name: str) -> bool:
    return name.lower() in ("cookie", "proxy-authorization") or hide_secrets("x", name) == HIDDEN


def _known(model: type[BaseModel]) -> list[str]:
    """Every key of a part, with those of the parts in it."""
    names = [name for name in model.model_fields if name != "file"]
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Part):
            names += [f"{name}.{below}" for below in kind.model_fields]
    return names


def choose(apis: Sequence[SupplierApi], wanted: Sequence[str], folder: Path) -> list[SupplierApi]:
    """Those that are wanted, all where nothing is said. UserError where one is not described."""
    by_name = {api.supplier: api for api in apis}
    missing = [name for name in wanted if name not in by_name]
    if missing:
        raise UserError(
            f"No file in {folder} describes the supplier {', '.join(map(ascii, missing))}; "
            f"those that are described: {', '.join(map(ascii, by_name))}."
        )
    return [by_name[name] for name in dict.fromkeys(wanted)] if wanted else list(apis)
