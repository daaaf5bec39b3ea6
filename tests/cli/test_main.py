"""`reco` as a whole: help without Spark, errors as one sentence, exit codes."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pytest
import typer

from jobs.cli.main import COMMANDS, PARTS, build, main
from jobs.common.command import load, one_line, run, run_function
from jobs.common.errors import BREAKS_FOUND, DONE, FAILED, USAGE, UserError


def code_of(argv: list[str]) -> int:
    with pytest.raises(SystemExit) as end:
        main(argv)
    assert isinstance(end.value.code, int)
    return end.value.code


def test_help_lists_every_command_without_importing_spark() -> None:
    code = (
        "import sys\nfrom jobs.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'pyspark', 'polars', 'deltalake', 'confluent_kafka', 'great_expectations'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for name in COMMANDS:
        assert f" {name} " in told.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of([name, "--help"]) == DONE
    told = capsys.readouterr().out
    if not isinstance(load(COMMANDS[name].target), typer.Typer):  # of those, each subcommand has its own
        assert "--settings" in told
        assert "--json" in told
        assert "--debug" in told
    assert f"Example: reco {name}" in " ".join(told.split()).replace("│ ", "")


@pytest.mark.parametrize(("group", "name"), [(group, name) for group, parts in PARTS.items() for name in parts])
def test_a_subcommand_of_another_program_is_beside_its_groups_own(
    group: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of([group, name, "--help"]) == DONE
    told = " ".join(capsys.readouterr().out.split())
    assert f"Example: reco {group} {name}" in told
    assert "--settings" in told
    assert code_of([group, "--help"]) == DONE
    listed = capsys.readouterr().out
    assert f" {name} " in listed
    assert " apply " in listed
    assert name not in [command.name for command in load(COMMANDS[group].target).registered_commands]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(["--version"]) == DONE
    assert capsys.readouterr().out.startswith("reco ")


def test_a_process_ends_with_what_it_printed_its_code_and_what_was_to_be_done_at_its_end() -> None:
    code = (
        "import atexit, sys\nfrom jobs.cli.main import main\nsys.argv = ['reco', *sys.argv[1:]]\n"
        "class Late:\n    def __del__(self):\n        print('taken apart')\n"
        "late = Late()\nlate.itself = late\n"
        "build = sys.modules['jobs.cli.main'].build\n"
        "def built(*of):\n    atexit.register(lambda: print('late'))\n    return build(*of)\n"
        "sys.modules['jobs.cli.main'].build = built\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code, "--version"], capture_output=True, text=True, check=False)
    assert done.returncode == DONE
    assert done.stdout.splitlines()[1:] == ["late"]
    done = subprocess.run([sys.executable, "-c", code, "nope"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (USAGE, "late\n")
    assert "No such command 'nope'" in done.stderr


@pytest.mark.parametrize("argv", [["nope"], ["doctor", "--nope"], ["--nope"], []])
def test_wrong_usage_is_exit_code_2(argv: list[str]) -> None:
    assert code_of(argv) == USAGE


def test_settings_that_are_not_there_are_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(["doctor", "--settings", "/nowhere.yaml"]) == USAGE
    assert "/nowhere.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [
        ["explain", "SUP-001", "BK-\udcff"],
        ["replay", "\udcff"],
        ["export", "close", "2026-03-09", "--to", "/tmp/\udcff"],
        ["policies", "show", "--supplier", "\udcff", "--json"],
    ],
)
def test_an_argument_that_is_no_text_is_named(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(argv) == USAGE
    told = capsys.readouterr()
    wrong = next(word for word in argv if "\udcff" in word)
    assert (told.out, told.err) == (
        "",
        f"The argument {wrong!a} is not UTF-8 text: write it in UTF-8 (see `locale`).\n",
    )


ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("setting", "argv"),
    [
        ("console.users_file", ["console", "add-user", "ann", "--no-password"]),
        ("console.audit_file", ["console"]),
        ("lake.root", ["policies", "apply", str(ROOT / "conf/policies.yaml")]),
        ("lake.root", ["fx", "load", str(ROOT / "conf/fx.csv")]),
        ("lake.root", ["stream", "--available-now"]),
        ("lake.root", ["daily", "--date", "2026-03-09"]),
        ("lake.root", ["replay", "2026-03-09-r1"]),
        ("stream.checkpoint_root", ["stream", "--available-now"]),
    ],
)
@pytest.mark.parametrize("place", ["/proc/none", "/proc/none/below"])
def test_a_place_that_cannot_be_written_is_named_by_its_setting(
    setting: str,
    argv: list[str],
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/console-users.yaml").write_text("users: {ann: {role: viewer}}")
    variable = f"RECO_{setting.upper().replace('.', '__')}"
    monkeypatch.setenv(variable, place)
    assert code_of(argv) == USAGE
    sentence = f"{setting}: {place} cannot be written (No such file or directory): give a place that this user may "
    assert capsys.readouterr().err.endswith(f"{sentence}write ({variable} sets it too).\n")


def app_of(function: Callable[..., object]) -> Callable[[], typer.Typer]:
    def build_it() -> typer.Typer:
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command()(function)
        return app

    return build_it


def refuse(debug: bool = False) -> None:
    raise UserError("The port 9 is taken: choose another.", 2)


def crash(debug: bool = False) -> None:
    raise RuntimeError("password=hunter2 refused\n  by the server")


def interrupt() -> None:
    raise KeyboardInterrupt


def test_a_users_error_is_its_sentence_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app_of(refuse), [], "reco", "refuse") == USAGE
    assert capsys.readouterr().err == "The port 9 is taken: choose another.\n"


@pytest.mark.parametrize(("error", "code"), [(UserError, USAGE), (RuntimeError, FAILED)])
def test_an_id_from_outside_does_not_steer_the_terminal(
    error: type[Exception], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse_id() -> None:
        raise error("\x1b[2JSUP\u202e is not known.\n\tOne a line:\n    São Paulo")

    assert run(app_of(refuse_id), [], "reco", "refuse") == code
    told = capsys.readouterr().err
    assert "\\x1b[2JSUP\\u202e is not known" in told
    assert not {"\x1b", "\u202e"} & set(told)
    if error is UserError:
        assert told.endswith("known.\n\tOne a line:\n    São Paulo\n")


def test_any_other_error_is_one_line_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app_of(crash), [], "reco", "crash") == FAILED
    told = capsys.readouterr().err
    assert told == "reco crash failed: password=[hidden] refused; run it again with --debug to see where.\n"


def test_debug_shows_where(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app_of(crash), ["--debug"], "reco", "crash") == FAILED
    assert "in crash" in capsys.readouterr().err


def test_interrupted_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app_of(interrupt), [], "reco", "daily") == 130
    assert capsys.readouterr().err == "reco daily: interrupted.\n"


class PanicException(BaseException):
    """Of the same name as what Rust's libraries raise."""


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PermissionError(13, "Permission denied", "/l/x"), "see that this user may read and write /l/x"),
        (PermissionError(13, "Permission denied", "/l/x\x1b\ny.parquet"), "may read and write /l/x\\x1b y.parquet"),
        (OSError(28, "No space left on device", "/l/x.parquet"), "run it again with --debug to see where"),
        (FileNotFoundError(2, "No such file or directory", "java"), "run it again with --debug to see where"),
        (PanicException("no end"), "run it again with --debug to see where"),
        (RuntimeError("IO Error: /l/a.parquet is too small"), "or restore it from a backup (docs/maintenance.md)"),
    ],
)
def test_what_nobody_foresaw_comes_with_what_to_do(
    error: BaseException, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    assert run(app_of(fail), [], "reco", "fail") == FAILED
    err = capsys.readouterr().err
    assert err.startswith("reco fail failed: ")
    assert err.endswith(f"{told}.\n")
    assert len(err.splitlines()) == 1


def test_a_closed_output_is_no_error_of_ours() -> None:
    command = [sys.executable, "-m", "jobs.cli.main", "--help"]
    done = subprocess.run(["bash", "-c", '"$@" >&-', "_", *command], capture_output=True, text=True, check=False)
    assert "AttributeError" not in done.stderr


def test_the_number_a_command_returns_is_the_exit_code() -> None:
    def fail_on(severity: Annotated[str, typer.Option()] = "HIGH", debug: bool = False) -> int:
        """Find breaks."""
        return BREAKS_FOUND if severity == "HIGH" else DONE

    assert run_function(fail_on, [], "daily") == BREAKS_FOUND
    assert run_function(fail_on, ["--severity", "LOW"], "daily") == DONE
    assert run_function(fail_on, ["--nope"], "daily") == USAGE


def test_a_java_error_shows_its_cause() -> None:
    error = RuntimeError("An error occurred while calling o1.save.\n: java.io.IOException: No space left\n\tat x.y")
    assert one_line(error) == "java.io.IOException: No space left"


@pytest.mark.parametrize(
    ("package", "extra"),
    [("currency_converter_of_nobody", "local"), *((name, "console") for name in ("requests", "authlib", "joserfc"))],
)
def test_a_missing_package_is_named_with_its_extra(
    package: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"needs_{package}.py").write_text(f"import {package}.part\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"{package} is not installed: pip install 'reco\[{extra}\]'"):
        load(f"needs_{package}:command")


def test_only_the_chosen_command_is_loaded() -> None:
    before = set(sys.modules)
    build("doctor")
    assert "jobs.daily.main" not in set(sys.modules) - before
