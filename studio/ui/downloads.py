"""Exports and runs as zip archives that the browser fetches by itself: with its own progress, and cancelled there."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from studio.domain.errors import StudioError
from studio.services import exports, receipts
from studio.services.packing import Packed
from studio.services.store import Store
from studio.ui.i18n import language_of, message_of, words
from studio.ui.rooms import Rooms, sender


def routes(rooms: Rooms) -> list[Route]:
    """For the page's server, which stands behind its gate; of each user's own runs alone."""

    def export(store: Store, run: str, name: str) -> Packed:
        return Packed.of(exports.files_of(store, run, name), f"{run}-{name}")

    return [
        Route("/exports/{run}/{name}.zip", _sending(rooms, export)),
        Route("/runs/{run}.zip", _sending(rooms, receipts.packed)),
    ]


def export_address(run: str, name: str) -> str:
    """Of an export's archive, as seen from the page."""
    return f"exports/{quote(run, safe='')}/{quote(name, safe='')}.zip"


def run_address(run: str) -> str:
    return f"runs/{quote(run, safe='')}.zip"


def _sending(rooms: Rooms, packed: Callable[..., Packed]) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        try:
            archive = packed(rooms.of(sender(request)).store, *request.path_params.values())
        except StudioError as error:
            message, remedy = message_of(words(language_of(request)), error)
            return PlainTextResponse(f"{message} {remedy}\n", 404)
        headers = {
            "content-length": str(archive.length),
            "content-disposition": f'attachment; filename="{archive.name}.zip"',
            "cache-control": "no-store",
        }
        return StreamingResponse(archive.chunks(), headers=headers, media_type="application/zip")

    return answer
