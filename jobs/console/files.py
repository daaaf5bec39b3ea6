"""Files: what the pages are made with, exports, and a close's data docs."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import FileResponse, RedirectResponse, Response, StreamingResponse

from jobs.console import exports, reading, search, views
from jobs.console.context import Context, Known, Ours, require_all
from jobs.console.exceptions import whole
from jobs.console.search import Query
from jobs.console.security import Caller

router = APIRouter(include_in_schema=False)
_STATIC = Path(__file__).parent / "static"
_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_KEPT = {"Cache-Control": "public, max-age=3600"}
_EXCEL = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
#: What an export is, for the API's description.
FILES: dict[str, dict[str, Any]] = {
    "text/csv": {"schema": {"type": "string"}},
    _EXCEL: {"schema": {"type": "string", "format": "binary"}},
}
#: Data docs are made by others' templates: they are shown without scripts, and as a page of nobody.
_DOCS_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"


@cache
def _plotly() -> bytes:
    from plotly.offline import get_plotlyjs

    text: str = get_plotlyjs()
    return text.encode()


@router.get("/static/{name}")
def static(name: str) -> Response:
    """A file of ours; plotly's comes from its Python package."""
    if name == "plotly.min.js":
        return Response(_plotly(), media_type="text/javascript", headers={"Cache-Control": "public, max-age=86400"})
    known = {file.name: file for file in _STATIC.iterdir()}
    if name not in known:
        raise HTTPException(404, "There is no such file.")
    return FileResponse(known[name], media_type=_KINDS.get(known[name].suffix, "text/plain"), headers=_KEPT)


@router.get("/favicon.ico")
def favicon() -> Response:
    """Browsers ask for it by themselves."""
    return RedirectResponse("/static/icon.svg", 301)


@router.get("/export/exceptions.{kind}")
def export(request: Request, ours: Ours, caller: Known, kind: Literal["csv", "xlsx"]) -> Response:
    """Everything that the search finds, as a file."""
    return exported(request, ours, caller, kind, views.query_of_request(request))


def exported(request: Request, ours: Context, caller: Caller, kind: str, query: Query) -> Response:
    """The file, in the search's order; noted in the audit."""
    known = whole(ours.tables)
    rows = search.ordered(known, search.found(known.rows, query, user=caller.user), query)
    ours.audit.note("exported", caller.user.name, ours.gate.address(request), kind=kind, exceptions=rows.height)
    headers = {"Content-Disposition": f'attachment; filename="exceptions.{kind}"'}
    if kind == "csv":
        return StreamingResponse(exports.as_csv(rows), media_type="text/csv; charset=utf-8", headers=headers)
    book = exports.as_excel(rows)

    def pieces() -> Iterator[bytes]:
        with book:
            while piece := book.read(1 << 16):
                yield piece

    return StreamingResponse(pieces(), media_type=_EXCEL, headers=headers)


@router.get("/closes/{close_id}/docs/{name:path}")
def docs(ours: Ours, caller: Known, close_id: str, name: str) -> Response:
    """A page of the data docs that the close wrote."""
    require_all(caller)
    told = reading.close(ours.tables, caller.user, close_id)
    folder = reading.docs_folder(ours.tables, told["reco_date"]) if told else None
    file = (folder / (name or "index.html")).resolve() if folder and name.isprintable() else None
    if file is None or folder is None or not file.is_relative_to(folder.resolve()) or not file.is_file():
        raise HTTPException(404, "There is no such page among the data docs.")
    return FileResponse(file, headers={"Content-Security-Policy": _DOCS_POLICY})
