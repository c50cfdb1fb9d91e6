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


def routes(store: Store) -> list[Route]:
    """For the page's server, which stands behind its gate and its login."""

    def export(run: str, name: str) -> Packed:
        return Packed.of(exports.files_of(store, run, name), f"{run}-{name}")

    def run(run: str) -> Packed:
        return receipts.packed(store, run)

    return [Route("/exports/{run}/{name}.zip", _sending(export)), Route("/runs/{run}.zip", _sending(run))]


def export_address(run: str, name: str) -> str:
    """Of an export's archive, as seen from the page."""
    return f"exports/{quote(run, safe='')}/{quote(name, safe='')}.zip"


def run_address(run: str) -> str:
    return f"runs/{quote(run, safe='')}.zip"


def _sending(packed: Callable[..., Packed]) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        if not _signed_in(request):
            return PlainTextResponse("Not authenticated\n", 401)
        try:
            archive = packed(**request.path_params)
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


def _signed_in(request: Request) -> bool:
    """Gradio's own login, which its routes ask for each by itself."""
    app = request.app
    cookies = (f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}")
    return app.auth is None or any(request.cookies.get(name) in app.tokens for name in cookies)
