"""Backtests that people start from the console: proposed policies tried on the last closes, and how that went."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from threading import Lock
from typing import Any

import yaml

from jobs.common.output import plain_decimal
from jobs.common.policies import Policies, Policy
from jobs.common.policy_file import DEFAULTS, written, written_value
from jobs.console.background import Background, Ended
from jobs.console.text import moment

#: Days that one may ask for at once, and characters of a file.
MOST_DAYS, MOST_TEXT = 90, 500_000
_FILE = "policies.yaml"


class TrialState(StrEnum):
    """How the last backtest stands. NONE: there was none since this console started."""

    NONE = "NONE"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"


@dataclass(frozen=True)
class Trial:
    """A backtest that somebody asked for. `text` is the file; says: what the command said where it failed."""

    state: TrialState = TrialState.NONE
    by: str | None = None
    name: str = ""
    days: int = 7
    started_at: datetime | None = None
    finished_at: datetime | None = None
    backtest_id: str | None = None
    says: list[str] = field(default_factory=list)
    text: str = field(default="", repr=False)

    @property
    def file_hash(self) -> str:
        """SHA-256 of the file, as `gold/policy_backtests` has it."""
        return hashlib.sha256(self.text.encode()).hexdigest()


class Trials:
    """Starts them and remembers the last; thread-safe. The result is the command's own, in `gold/policy_backtests`."""

    def __init__(self, background: Background) -> None:
        self._background, self._lock = background, Lock()
        self._last = Trial()

    def last(self) -> Trial:
        """The last one that was started."""
        with self._lock:
            return self._last

    def start(self, text: str, name: str, days: int, user: str, done: Callable[[Trial], None]) -> Trial:
        """Begin one, of which `done` is told at its end. UserError where something else runs."""

        def then(ended: Ended) -> None:
            found = replace(_read(begun, ended), finished_at=datetime.now(UTC))
            with self._lock:
                self._last = found
            done(found)

        with self._lock:
            now = datetime.now(UTC)
            begun = Trial(TrialState.RUNNING, user, name, days, now, text=text.replace("\r\n", "\n"))
            words = ["policies", "backtest", _FILE, "--days", str(days), "--save", f"--name={name}"]
            what = f"Policies are being tried for {user} since {moment(now)}"
            self._background.start(what, words, {_FILE: begun.text}, then)
            self._last = begun
            return begun


def _read(begun: Trial, ended: Ended) -> Trial:
    try:
        told: dict[str, Any] = json.loads(ended.out)
    except ValueError:
        return replace(begun, state=TrialState.FAILED, says=ended.failed.splitlines())
    if not told["saved"]:
        return replace(begun, state=TrialState.FAILED, says=ended.failed.splitlines())
    return replace(begun, state=TrialState.DONE, backtest_id=told["backtest_id"], says=told["notes"])


def as_file(known: Policies) -> str:
    """The policies as a file to begin with: the defaults whole, of each supplier what differs from them."""
    defaults = known.get(DEFAULTS, Policy())
    listed = {name: _nested(policy, defaults) for name, policy in known.items() if name is not None}
    whole = {"version": 1, "defaults": _nested(defaults, None), "suppliers": listed}
    return yaml.safe_dump(whole, sort_keys=False, allow_unicode=True)


def _nested(policy: Policy, beside: Policy | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in policy.model_dump().items():
        if value is None or (beside is not None and getattr(beside, key) == value):
            continue
        outer, _, inner = written(key).partition(".")
        place: dict[str, Any] = found.setdefault(outer, {}) if inner else found
        place[inner or outer] = _plain(written_value(key, value))
    return found


def _plain(value: Any) -> Any:
    return plain_decimal(value) if isinstance(value, Decimal) else value
