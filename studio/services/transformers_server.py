"""transformers' own OpenAI-compatible server: python -m studio.services.transformers_server NAME HOST PORT

It is `transformers serve` without two things: the look for newer versions on the package index, and the paths and Host
headers that a page in somebody's browser could reach this machine's server by.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from studio.services.addresses import host_name, hosts_for
from studio.services.chat_worker import use_all_cores

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

PATHS = frozenset({"/health", "/v1/models", "/v1/chat/completions", "/v1/completions", "/v1/responses"})
"""What is answered; the server's own paths to load and unload models are not."""


class Guard:
    """Lets requests in that name a host of ours and a path that is served.

    A page elsewhere can make its own name point to this machine (DNS rebinding): its requests carry that name.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.datastructures import Headers
        from starlette.responses import JSONResponse

        if scope["type"] == "http":
            refused = None
            if self.hosts and host_name(Headers(scope=scope).get("host", "")) not in self.hosts:
                refused = JSONResponse({"error": {"message": "Call this server by its address."}}, 403)
            elif scope["path"] not in PATHS:
                refused = JSONResponse({"error": {"message": "There is nothing at this path."}}, 404)
            if refused is not None:
                await refused(scope, receive, send)
                return
        await self.app(scope, receive, send)


def main() -> None:
    """Serve until the process is told to end."""
    from transformers.cli.serve import Serve
    from transformers.cli.serving import server

    name, host, port = sys.argv[1:]
    use_all_cores()
    build = server.build_server

    def guarded(*parts: Any, **options: Any) -> Any:
        app = build(*parts, **options)
        app.add_middleware(Guard, hosts=hosts_for(host))
        return app

    # `Serve` makes its application and starts it in one go; this is the only place between the two.
    server.build_server = guarded
    Serve(force_model=name, host=host.strip("[]"), port=int(port))


if __name__ == "__main__":
    main()
