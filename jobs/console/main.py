"""`reco console`: serve it, add users, make tokens."""

import getpass
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Annotated

import typer
import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from jobs.common.command import new_app
from jobs.common.errors import UserError
from jobs.common.metrics import endpoint
from jobs.common.options import AsJson, Debug, SettingsFile
from jobs.common.output import print_json, say
from jobs.common.settings import load_settings
from jobs.console.app import create_app
from jobs.console.users import Role, User, add_token, add_user, remove_user, revoke_token

app = new_app(invoke_without_command=True)
_PASSWORD = "RECO_CONSOLE_PASSWORD"  # noqa: S105 - the name of where it is


@app.callback(epilog="Example: reco console --port 8088")
def serve(
    context: typer.Context,
    port: Annotated[int | None, typer.Option(help="In place of console.port.", min=1, max=65535)] = None,
    settings_file: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """The web console, until it is stopped; `add-user` and `token` say who may use it."""
    if context.invoked_subcommand is not None:
        return
    settings = load_settings(settings_file)
    console = settings.console
    served, at = create_app(settings), port or console.port
    url = f"http://{'[' + console.host + ']' if ':' in console.host else console.host}:{at}"
    metrics = settings.metrics.model_copy(update={"port": console.metrics_port})
    with _listening(console.host, at) as sockets, endpoint(metrics, key="console.metrics_port"):
        if as_json:
            print_json({"url": url, "users_file": str(console.users_file)})
            sys.stdout.flush()
        else:
            say(f"The console answers at {url}; stop it with Ctrl-C.")
        uvicorn.Server(server_config(served, console.host, at)).run(sockets)


@contextmanager
def _listening(host: str, port: int) -> Iterator[list[socket.socket]]:
    """Sockets at every address of the host: had before anybody is told where the console answers.

    Raises UserError where one cannot be had. uvicorn would say so in a line of its own, and end the process.
    """
    with ExitStack() as held:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            places = dict.fromkeys((family, place) for family, _, _, _, place in found)
            sockets = [held.enter_context(socket.create_server(place, family=family)) for family, place in places]
        except OSError as error:
            why = str(error.strerror).partition(" (while ")[0]  # Python adds the address, which is said already
            raise UserError(
                f"Port {port} of {host} cannot be had ({why}): set console.port to a free one, or "
                "console.host to an address of this machine."
            ) from None
        yield sockets


def server_config(served: FastAPI, host: str, port: int) -> uvicorn.Config:
    """How the console is served: the peer's address is believed, what a header says of it only by our own rules."""
    return uvicorn.Config(
        served,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        lifespan="off",
        # Longer than proxies keep an idle connection: whoever closes it first must not be us, or requests are lost.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
    )


@app.command("add-user", epilog="Example: reco console add-user ann --role operator --supplier SUP-001")
def add(
    name: Annotated[str, typer.Argument(help="Letters, digits, . _ @ -")],
    role: Annotated[Role, typer.Option(help="viewer looks; operator acts; admin also sees the audit.")] = Role.VIEWER,
    supplier: Annotated[
        list[str] | None, typer.Option(help="The only suppliers the user knows of; all where left out.")
    ] = None,
    no_password: Annotated[
        bool, typer.Option("--no-password", help="The user comes through a proxy, or by token only.")
    ] = False,
    settings_file: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Add a user, or change one; the password is asked for, or taken from the variable RECO_CONSOLE_PASSWORD."""
    path = load_settings(settings_file).console.users_file
    try:
        user = User(name=name, role=role, suppliers=tuple(supplier) if supplier else None)
    except ValidationError:
        raise UserError(f"{name!a} is no user's name: letters, digits and . _ @ -, at most 64.") from None
    add_user(path, user, None if no_password else _asked_password(name))
    if as_json:
        print_json({"user": name, "role": role.value, "users_file": str(path)})
    else:
        say(f"{name} is {role.value} in {path}; a running console knows it from now on.")


@app.command(epilog="Example: reco console token nightly-report --user ann")
def token(
    name: Annotated[str, typer.Argument(help="What the token is for; the same name again replaces it.")],
    user: Annotated[str, typer.Option(help="Whose rights it has.")],
    settings_file: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Make a token for the JSON API, shown once: Authorization: Bearer TOKEN."""
    made = add_token(load_settings(settings_file).console.users_file, name, user)
    if as_json:
        print_json({"token": made, "user": user})
    else:
        say(made)


@app.command("remove-user", epilog="Example: reco console remove-user ann")
def remove(
    name: Annotated[str, typer.Argument(help="The user's name.")],
    settings_file: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Take a user out of the users file, with all tokens; sessions and tokens end with the next request."""
    gone = remove_user(load_settings(settings_file).console.users_file, name)
    if as_json:
        print_json({"removed": name, "tokens": gone})
    else:
        say(f"{name} and {len(gone)} tokens are gone; a running console knows it from now on.")


@app.command(epilog="Example: reco console revoke nightly-report")
def revoke(
    name: Annotated[str, typer.Argument(help="What the token is for.")],
    settings_file: SettingsFile = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Take a token out of the users file; it ends with the next request."""
    revoke_token(load_settings(settings_file).console.users_file, name)
    if as_json:
        print_json({"revoked": name})
    else:
        say(f"The token {name} is gone; a running console knows it from now on.")


def _asked_password(name: str) -> str:
    given = os.environ.get(_PASSWORD)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise UserError(f"No terminal to ask for {name}'s password: put it into the variable {_PASSWORD}.")
    first, again = getpass.getpass(f"Password of {name}: "), getpass.getpass("Again: ")
    if first != again:
        raise UserError("The two passwords differ; nothing was changed.")
    return first
