"""`reco policies`: apply a policies file, look at what holds, compare, look back."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.common import policies as store
from jobs.common.errors import UserError
from jobs.common.options import AsJson, Debug, SettingsFile
from jobs.common.output import print_json, print_table, say
from jobs.common.policy_file import written, written_value
from jobs.common.settings import Settings, load_settings

app = typer.Typer(
    no_args_is_help=True,
    help="What is agreed with each supplier: versioned, checked before anything is applied.",
    epilog="Example: reco policies apply conf/policies.yaml",
)

_KEYS = list(store.Policy.model_fields)


@app.command("apply", epilog="Example: reco policies apply conf/policies.yaml")
def apply_file(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Policies file; policies_file of the settings.")
    ] = None,
    settings_file: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Check FILE and make it the new version; running streams take it up within one micro-batch."""
    settings = load_settings(settings_file)
    path = file or settings.policies_file
    before, old = store.current_policies(settings)
    formats_before = store.formats_in_force(settings)
    version = store.apply(settings, path, datetime.now(UTC))
    _, new = store.current_policies(settings)
    changes = store.diff(old, new)
    status = "unchanged" if version == before else "applied"
    formats = store.formats_in_force(settings)
    changed = sorted(name for name, text in formats.items() if text != formats_before.get(name))
    if as_json:
        told = {"status": status, "policy_version": version, "file": str(path), "changes": _as_json(changes)}
        print_json(told | {"formats": sorted(formats), "formats_changed": changed})
    elif status == "unchanged":
        say(f"Unchanged: policy version {version} already says what {path} says.")
    else:
        say(f"Applied {path} as policy version {version}: {len(new) - 1} suppliers listed.")
        _print_changes(f"Against version {before}", changes)
        if changed:
            say(f"Payload formats that are new or changed: {', '.join(changed)}.")


@app.command(epilog="Example: reco policies show --supplier SUP-001")
def show(
    version: Annotated[int | None, typer.Option(help="A version; the one in force unless given.", min=0)] = None,
    supplier: Annotated[str | None, typer.Option(help="Only what holds for this supplier.")] = None,
    settings_file: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show every supplier's policy with all values resolved."""
    settings = load_settings(settings_file)
    number, found = store.current_policies(settings)
    if version is not None:
        number, found = version, store.policies_of(settings, version)
    listed = supplier is None or supplier in found
    rows = dict(found) if supplier is None else {supplier: store.effective(found, supplier)}
    if as_json:
        policies = [{"supplier_id": name, **policy.model_dump()} for name, policy in rows.items()]
        print_json({"policy_version": number, "listed": listed, "policies": policies})
        return
    title = f"Policy version {number}" + (" (built-in defaults; none was applied yet)" if number == 0 else "")
    columns = ["supplier", *(written(key) for key in _KEYS)]
    cells = [
        [name or "defaults", *(written_value(key, getattr(policy, key)) for key in _KEYS)]
        for name, policy in rows.items()
    ]
    print_table(title, columns, cells)
    if not listed:
        say(f"{supplier} is not listed and has the defaults.")


@app.command(epilog="Example: reco policies diff conf/policies.yaml")
def diff(
    a: Annotated[str | None, typer.Argument(help="Version or file; the version before the one in force.")] = None,
    b: Annotated[str | None, typer.Argument(help="Version or file; the version in force.")] = None,
    settings_file: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say what changes from A to B; a single FILE is compared with what is in force, as if it were applied."""
    settings = load_settings(settings_file)
    current, in_force = store.current_policies(settings)
    if a is None:
        a = str(max(current - 1, 0))
    old = _resolve(settings, a)
    if b is not None:
        names, new = (a, b), _resolve(settings, b)
    elif _is_version(a):
        names, new = (a, str(current)), in_force
    else:
        names, old, new = (str(current), a), in_force, old
    changes = store.diff(old, new)
    if as_json:
        print_json({"from": names[0], "to": names[1], "changes": _as_json(changes)})
    else:
        _print_changes(" → ".join(f"version {name}" if _is_version(name) else name for name in names), changes)


@app.command(epilog="Example: reco policies history --json")
def history(settings_file: SettingsFile = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """List every version ever applied, the newest first."""
    versions = store.history(load_settings(settings_file))
    if as_json:
        print_json([vars(version) for version in versions])
    elif not versions:
        say("No policies were applied yet; the built-in defaults hold. See: reco policies apply --help")
    else:
        columns = ["version", "applied at", "suppliers", "changes", "file's SHA-256"]
        rows = [[v.policy_version, v.applied_at, v.suppliers, v.changes, v.file_hash[:12]] for v in versions]
        print_table("Policy versions", columns, rows)


def _is_version(name: str) -> bool:
    return name.isascii() and name.isdigit()


def _resolve(settings: Settings, name: str) -> store.Policies:
    if _is_version(name):
        return store.policies_of(settings, int(name))
    if not Path(name).exists():
        raise UserError(f"{name} is neither the number of a policy version nor a file.")
    return store.parse_policies(Path(name)).policies


def _as_json(changes: list[store.Change]) -> list[dict[str, Any]]:
    return [vars(change) for change in changes]


def _print_changes(title: str, changes: list[store.Change]) -> None:
    if not changes:
        say(f"{title}: nothing differs.")
        return
    rows = [
        [
            change.supplier_id or "defaults",
            written(change.key),
            written_value(change.key, change.before),
            written_value(change.key, change.after),
        ]
        for change in changes
    ]
    print_table(title, ["supplier", "key", "before", "after"], rows)
