"""A policies file: parsed, checked and resolved to one complete policy a supplier."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from jobs.common.errors import UserError
from jobs.common.yaml_file import Document, Key, complaints, read_yaml

#: The defaults' place in a mapping from supplier to policy, as in ref/policies: a supplier not listed has it.
DEFAULTS = None

_DURATION = re.compile(r"(?=\d)(?:(\d{1,4})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9})s)?", re.ASCII)
_UNIT_SECONDS = (86_400, 3_600, 60, 1)
_MONEY = re.compile(r"\d{1,12}(?:\.(\d+))?", re.ASCII)
_FORMAT = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_DURATIONS = {"grace", "allowed_skew", "max_delay"}
_WRITTEN_KEYS = {
    **{key: f"price.{key}" for key in ("abs_tol_usd", "pct_tol")},
    **{key: f"severity.{key}" for key in ("high_usd", "critical_usd")},
}
_MISSING = "has no value; write one, or leave the key out"


class Policy(BaseModel):
    """Everything that is agreed with one supplier. Durations in seconds, money in US dollars, pct_tol a ratio."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["NRT_HOURLY", "DAILY_ONLY"] = "NRT_HOURLY"
    grace: int = Field(default=3_600, ge=60, le=21_600)
    versions: Literal["aligned", "independent"] = "aligned"
    abs_tol_usd: Decimal = Field(default=Decimal("0.50"), ge=0, decimal_places=6, max_digits=18)
    pct_tol: Decimal = Field(default=Decimal("0.01"), ge=0, le=1, decimal_places=6)
    allowed_skew: int = Field(default=900, ge=0, le=86_400)
    max_delay: int = Field(default=7_200, ge=0, le=604_800)
    high_usd: Decimal = Field(default=Decimal(100), ge=0, decimal_places=6, max_digits=18)
    critical_usd: Decimal = Field(default=Decimal(1_000), ge=0, decimal_places=6, max_digits=18)
    format: str | None = None


#: What holds where a file says nothing, and before any file has been applied (policy version 0).
BUILT_IN = Policy()


def seconds_of(value: Any) -> int:
    """Seconds of a duration such as 90s, 15m, 2h, 1h30m or 7d; the number 0 needs no unit."""
    if value == 0 and not isinstance(value, bool):
        return 0
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("must be a duration with a unit: 90s, 15m, 2h, 1h30m or 7d")
    return sum(int(part) * unit for part, unit in zip(found.groups(), _UNIT_SECONDS, strict=True) if part)


def duration_of(seconds: int) -> str:
    """The duration as a policies file writes it: 5400 is 1h30m."""
    parts, rest = [], seconds
    for unit, letter in zip(_UNIT_SECONDS, "dhms", strict=True):
        count, rest = divmod(rest, unit)
        if count:
            parts.append(f"{count}{letter}")
    return "".join(parts) or "0s"


def written(key: str) -> str:
    """The key of a Policy as a policies file writes it: abs_tol_usd is price.abs_tol_usd."""
    return _WRITTEN_KEYS.get(key, key)


def written_value(key: str, value: Any) -> Any:
    """A value of that key as a policies file writes it, durations with their units."""
    return duration_of(value) if key in _DURATIONS else value


def _between(low: str, high: str) -> BeforeValidator:
    least, most = seconds_of(low), seconds_of(high)

    def check(value: Any) -> int:
        if value is None:
            raise ValueError(_MISSING)
        seconds = seconds_of(value)
        if not least <= seconds <= most:
            raise ValueError(f"must be from {low} to {high}, not {value}")
        return seconds

    return BeforeValidator(check)


def _decimal(value: Any) -> Decimal:
    """An exact number; the reader hands over YAML's own digits, so that nothing ever was a float."""
    if value is None:
        raise ValueError(_MISSING)
    text = "" if isinstance(value, bool) else str(value)
    found = _MONEY.fullmatch(text)
    if found is None:
        raise ValueError('must be a number from 0 to under 10^12, like "0.50"')
    if len(found.group(1) or "") > 6:
        raise ValueError(f"must have at most 6 decimals, not {len(found.group(1))}")
    return Decimal(text)


def _ratio(value: Any) -> Decimal:
    number = _decimal(value)
    if number > 1:
        raise ValueError(f"must be a ratio from 0 to 1 (0.01 is 1 percent), not {number}")
    return number


def _present(value: Any) -> Any:
    if value is None:
        raise ValueError(_MISSING)
    return value


def _number_one(value: Any) -> Any:
    # In Python True equals 1, in a file it does not.
    return "" if isinstance(value, bool) else value


def _or_empty(value: Any) -> Any:
    return {} if value is None else value


Amount = Annotated[Decimal | None, BeforeValidator(_decimal)]
Ratio = Annotated[Decimal | None, BeforeValidator(_ratio)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class _Price(_Part):
    abs_tol_usd: Amount = None
    pct_tol: Ratio = None


class _Severity(_Part):
    high_usd: Amount = None
    critical_usd: Amount = None


class _Written(_Part):
    """What a file says of one supplier, or of the defaults: any part of a policy."""

    mode: Annotated[Literal["NRT_HOURLY", "DAILY_ONLY"] | None, BeforeValidator(_present)] = None
    grace: Annotated[int | None, _between("1m", "6h")] = None
    versions: Annotated[Literal["aligned", "independent"] | None, BeforeValidator(_present)] = None
    price: _Price = _Price()
    allowed_skew: Annotated[int | None, _between("0s", "24h")] = None
    max_delay: Annotated[int | None, _between("0s", "7d")] = None
    severity: _Severity = _Severity()
    format: str | None = Field(default=None, pattern=_FORMAT)

    def over(self, base: Policy) -> Policy:
        """The base with what is written here put over it."""
        said = {name: getattr(self, name) for name in self.model_fields_set - {"price", "severity"}}
        for part in (self.price, self.severity):
            said |= {name: getattr(part, name) for name in part.model_fields_set}
        return base.model_copy(update=said)


class _File(_Part):
    version: Annotated[Literal[1], BeforeValidator(_number_one)]
    defaults: Annotated[_Written, BeforeValidator(_or_empty)] = _Written()
    suppliers: Annotated[dict[str, Annotated[_Written, BeforeValidator(_or_empty)]], BeforeValidator(_or_empty)] = {}


@dataclass(frozen=True)
class PolicyFile:
    """A valid policies file: the defaults under None, each listed supplier under its id; SHA-256 of the file.

    `formats`: every format that it names, with `file:line: key` of where it does so first.
    """

    path: Path
    file_hash: str
    policies: Mapping[str | None, Policy]
    formats: Mapping[str, str] = field(default_factory=dict)


def parse_policies(path: Path) -> PolicyFile:
    """Reads and checks a whole policies file; UserError names file, line and key of everything that is wrong."""
    document = read_yaml(path, "policies file")
    try:
        written = _File.model_validate(document.data)
    except ValidationError as error:
        raise _all_wrong(document, complaints(error, _known(document))) from error
    defaults = written.defaults.over(BUILT_IN)
    policies: dict[str | None, Policy] = {DEFAULTS: defaults}
    policies |= {supplier: part.over(defaults) for supplier, part in written.suppliers.items()}
    for supplier, policy in policies.items():
        key = ("defaults",) if supplier is None else ("suppliers", supplier)
        if supplier is not None:
            _check_supplier(document, supplier)
        if policy.high_usd > policy.critical_usd:
            what = f"high_usd {policy.high_usd} must not be over critical_usd {policy.critical_usd}"
            raise document.error((*key, "severity"), what)
    return PolicyFile(path, document.file_hash, policies, _named_formats(document, written))


def _named_formats(document: Document, written: _File) -> dict[str, str]:
    named: dict[str, str] = {}
    parts: list[tuple[Key, _Written]] = [(("defaults",), written.defaults)]
    parts += [(("suppliers", supplier), part) for supplier, part in written.suppliers.items()]
    for key, part in parts:
        if part.format is not None:
            place = f"{document.place((*key, 'format'))}: {'.'.join((*key, 'format'))}"
            named.setdefault(part.format, place)
    return named


def _all_wrong(document: Document, found: list[tuple[Key, str]]) -> UserError:
    """Everything at once, in the order of the file, so that a file is mended in one go."""
    in_order = sorted(found, key=lambda item: document.line(item[0]))
    return UserError("\n".join(document.sentence(*item) for item in in_order))


def _check_supplier(document: Document, supplier: str) -> None:
    shown = ascii(supplier if len(supplier) <= 20 else supplier[:20] + "…")
    place = f"{document.place(('suppliers', supplier))}: suppliers: {shown}: a supplier's id"
    if not 1 <= len(supplier) <= 128:
        raise UserError(f"{place} must have 1 to 128 characters, not {len(supplier)}")
    if any("\ud800" <= letter <= "\udfff" for letter in supplier):
        raise UserError(f"{place} must be proper Unicode, without lone surrogates")


def _known(document: Document) -> list[str]:
    """Every key that may stand in this file, its own suppliers' included."""
    leaves = [name for name in _Written.model_fields if name not in {"price", "severity"}]
    leaves += ["price", *(f"price.{name}" for name in _Price.model_fields)]
    leaves += ["severity", *(f"severity.{name}" for name in _Severity.model_fields)]
    suppliers = document.data.get("suppliers")
    owners = ["defaults", *(f"suppliers.{name}" for name in suppliers)] if isinstance(suppliers, dict) else ["defaults"]
    return ["version", "defaults", "suppliers", *(f"{owner}.{leaf}" for owner in owners for leaf in leaves)]
