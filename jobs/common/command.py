"""Running a command: errors become one sentence and an exit code, whether it was typed or submitted to a cluster."""

import errno
import functools
import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import typer

from jobs.common import log
from jobs.common.errors import DONE, FAILED, UNREADABLE, UserError, in_a_line

INTERRUPTED = 130
#: What libraries written in Rust raise where they find what cannot be, as in a damaged file; no Exception to Python.
_PANIC = "PanicException"
#: The extra of setup.py that brings a package which only some commands need.
_EXTRAS = {
    "currency_converter": "demo",
    "slack_sdk": "alerts",
    **dict.fromkeys(("duckdb", "sqlframe", "sqlglot", "pytz"), "duckdb"),
    **dict.fromkeys(("boto3", "botocore"), "deploy"),
    "clickhouse_connect": "warehouse",
    **dict.fromkeys(("httpx", "psycopg", "pymysql", "stamina"), "ingest"),
    **dict.fromkeys(
        (
            *("argon2", "authlib", "fastapi", "itsdangerous", "jinja2", "joserfc", "multipart", "plotly", "requests"),
            *("starlette", "uvicorn", "xlsxwriter"),
        ),
        "console",
    ),
}


def load(target: str) -> Any:
    """The object of `module:name`. Raises UserError where an optional package is missing."""
    module, _, name = target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("jobs", "reco_rules", "schemas", ""):
            raise
        extra = _EXTRAS.get(package, "local")
        raise UserError(f"The package {package} is not installed: pip install 'reco[{extra}]'.") from error


def new_app(**options: Any) -> typer.Typer:
    """A Typer application as all of ours are: no completion scripts, no stack traces of its own."""
    return typer.Typer(add_completion=False, pretty_exceptions_enable=False, **options)


def add_function(
    app: typer.Typer, function: Callable[..., Any], name: str, short_help: str | None = None, example: str = ""
) -> None:
    """A command; an integer that the function returns is the exit code."""
    text = inspect.getdoc(function) or ""
    epilog = f"Example: {example}" if example and "Example:" not in text else None

    @functools.wraps(function)
    def with_exit_code(*args: Any, **kwargs: Any) -> None:
        code = function(*args, **kwargs)
        if isinstance(code, int) and code != DONE:
            raise typer.Exit(code)

    app.command(name, short_help=short_help, help=text, epilog=epilog)(with_exit_code)


def run_function(function: Callable[..., Any], argv: Sequence[str], prog: str) -> int:
    """One function as a whole program; for the entry files of submitted jobs."""
    app = new_app()
    add_function(app, function, prog)
    return run(lambda: app, argv, prog)


def run(build: Callable[[], typer.Typer], argv: Sequence[str], prog: str, command: str = "") -> int:
    """Build and run; returns the exit code: 0 done, 1 failed, 2 wrong usage or settings, or what the command chose."""
    debug = "--debug" in argv
    name = f"{prog} {command}".strip()
    try:
        log.configure(debug=debug)
        _refuse_other_bytes(argv)
        build()(args=list(argv), prog_name=prog)
    except SystemExit as end:
        if end.code == INTERRUPTED:  # what Typer makes of Ctrl-C
            print(f"{name}: interrupted.", file=sys.stderr)
        return end.code if isinstance(end.code, int) else (DONE if end.code is None else FAILED)
    except UserError as error:
        if debug:
            traceback.print_exc()
        print(_harmless(str(error)), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"{name}: interrupted.", file=sys.stderr)
        return INTERRUPTED
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != _PANIC:
            raise
        if debug:
            traceback.print_exc()
        print(f"{name} failed: {_harmless(one_line(error))}; {_harmless(_remedy(error, debug))}.", file=sys.stderr)
        return FAILED
    return DONE


def _remedy(error: BaseException, debug: bool) -> str:
    """What to do about an error that nobody foresaw, by what it says of itself."""
    if isinstance(error, PermissionError) and error.filename is not None:
        return f"see that this user may read and write {' '.join(str(error.filename).split())}"
    if ".parquet" in str(error) and getattr(error, "errno", None) not in (errno.ENOSPC, errno.EDQUOT):
        return UNREADABLE.rstrip(".")
    return "it is told above where" if debug else "run it again with --debug to see where"


def _harmless(text: str) -> str:
    """A sentence may name an id from outside, which must not steer the terminal; its own lines and tabs stay."""
    from jobs.common.output import printable  # as a command that fails rarely does, no other has to load it

    return re.sub(r"[^\n\t]+", lambda found: printable(found[0]), text)


def _refuse_other_bytes(argv: Sequence[str]) -> None:
    """Python lets bytes that are not UTF-8 pass as halves of surrogates, which no library and no JSON takes."""
    for argument in argv:
        if any("\ud800" <= letter <= "\udfff" for letter in argument):
            raise UserError(f"The argument {argument!a} is not UTF-8 text: write it in UTF-8 (see `locale`).")


def one_line(error: BaseException, limit: int = 300) -> str:
    """The reason without its stack trace: the first line that says something, secrets hidden."""
    lines = [line.strip() for line in in_a_line(str(error)).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    if text.startswith("An error occurred while calling") and len(lines) > 1:  # py4j: the cause is the next line
        text = lines[1].removeprefix(": ")
    return str(log.hide_secrets(text))[:limit].rstrip(".;")  # hidden first: half a secret is not seen as one
