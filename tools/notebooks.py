"""Runs the notebooks over a lake and keeps what they show: `python tools/notebooks.py --lake DIR --set NAME=VALUE`.

Each `notebooks/*.py` (jupytext, percent format) is the source; the `.ipynb` beside it is made of it, with its outputs,
so that it can be read where nothing runs. `--set` changes a parameter, as a Python literal or as text.
"""

import argparse
import ast
import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "notebooks"


def main(argv: list[str] | None = None) -> int:
    """Run them side by side; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lake", type=Path, default=ROOT / ".reco/demo/lake", help="the lake that they are run over")
    parser.add_argument("--out", type=Path, default=FOLDER, help="where the .ipynb go")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("only", nargs="*", metavar="NAME", help="names of notebooks; all where left out")
    chosen = parser.parse_args(argv)
    if not (chosen.lake / "gold/closes/_delta_log").exists():
        print(f"{chosen.lake} has no closes: `make demo` makes a lake, --lake names another one.", file=sys.stderr)
        return 2
    changes = dict(change.split("=", 1) for change in chosen.changes)
    sources = [FOLDER / f"{name}.py" for name in chosen.only] or sorted(FOLDER.glob("*.py"))
    with tempfile.TemporaryDirectory() as sockets:
        failed = asyncio.run(_all(sources, chosen.lake.resolve(), chosen.out, changes, sockets))
    for name, why in failed.items():
        print(f"{name}: {why}", file=sys.stderr)
    return 1 if failed else 0


def notebook_of(source: Path) -> Any:
    """The notebook without outputs."""
    notebook = jupytext.read(source)
    # What differs from run to run or machine to machine would make every run a change.
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"]}
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
    return notebook


async def _all(sources: list[Path], lake: Path, out: Path, changes: dict[str, str], sockets: str) -> dict[str, str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "RECO_LAKE__ROOT": str(lake)}
    found = await asyncio.gather(
        *(_one(source, out, env, changes, f"{sockets}/{number}") for number, source in enumerate(sources))
    )
    return {source.name: why for source, why in zip(sources, found, strict=True) if why}


async def _one(source: Path, out: Path, env: dict[str, str], changes: dict[str, str], socket: str) -> str | None:
    """Why it failed, or None once it is written."""
    notebook = notebook_of(source)
    number = next(i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", []))
    if changes:
        text = "\n".join(f"{name} = {_literal(value)!r}" for name, value in changes.items())
        notebook.cells.insert(number + 1, nbformat.v4.new_code_cell(text, id="changed"))  # type: ignore[no-untyped-call]
    # By sockets of files: what a kernel is told over TCP, everybody on this machine can listen to.
    kernel = AsyncKernelManager(kernel_name=notebook.metadata.kernelspec.name, transport="ipc", ip=socket)
    place = {"metadata": {"path": str(FOLDER)}}
    client = NotebookClient(notebook, km=kernel, timeout=300, record_timing=False, resources=place)
    try:
        await client.async_execute(env=env)
    except CellExecutionError as error:
        return str(error)
    finally:
        await kernel.shutdown_kernel(now=True)
    if changes:
        del notebook.cells[number + 1]
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, out / source.with_suffix(".ipynb").name)  # type: ignore[no-untyped-call]
    return None


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


if __name__ == "__main__":
    sys.exit(main())
