"""A model hub on loopback, as far as a push asks for it: it keeps what it is sent, and refuses what it is told to."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_" + "x1Y2" * 8


@dataclass
class Repository:
    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    large: set[str] = field(default_factory=set)
    """Names of those that lie in the large file storage."""
    commits: list[str] = field(default_factory=list)


@dataclass
class Hub:
    """What it holds, and how it answers."""

    url: str = ""
    role: str = "write"
    refuses: int = 0
    """The status of each answer to a write, where it is not 0."""
    repositories: dict[str, Repository] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    """Of the large file storage, by SHA-256."""
    asked: list[str] = field(default_factory=list)


@contextmanager
def hub() -> Iterator[Hub]:
    state = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


def blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            path = self._begun()
            if path is None:
                return
            if path == "/api/whoami-v2":
                self._say(200, {"name": "ann", "auth": {"accessToken": {"role": hub.role}}})
                return
            repo = path.removeprefix("/api/models/").partition("/revision/")[0]
            found = hub.repositories.get(repo)
            if found is None:
                self._say(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
                return
            self._say(200, _described(repo, found))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            path = self._begun()
            if path is None:
                return
            if hub.refuses:
                self._say(hub.refuses, {"error": "You do not have the right."})
            elif path == "/api/validate-yaml":
                self._say(200, {"errors": [], "warnings": []})
            elif path == "/api/repos/create":
                asked = json.loads(body)
                repo = f"{asked.get('organization') or 'ann'}/{asked['name']}"
                hub.repositories[repo] = Repository(
                    asked.get("visibility") == "private" or asked.get("private", False)
                )
                hub.repositories[repo].files[".gitattributes"] = b"*.safetensors filter=lfs\n"
                self._say(200, {"url": f"{hub.url}/{repo}", "id": "1"})
            elif "/preupload/" in path:
                files = json.loads(body)["files"]
                modes = [
                    {
                        "path": file["path"],
                        "uploadMode": "lfs"
                        if file["path"].endswith((".safetensors", ".gguf"))
                        else "regular",
                        "shouldIgnore": False,
                    }
                    for file in files
                ]
                self._say(200, {"files": modes})
            elif path.endswith("/info/lfs/objects/batch"):
                objects = json.loads(body)["objects"]
                self._say(200, {"transfer": "basic", "objects": list(map(_wanted, objects))})
            elif "/commit/" in path:
                repo = path.removeprefix("/api/models/").partition("/commit/")[0]
                self._commit(hub.repositories[repo], repo, body)
            else:
                self._say(404, {"error": path})

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            hub.asked.append(f"PUT {self.path}")
            digest = self.path.rpartition("/")[2]
            if hashlib.sha256(body).hexdigest() != digest:
                self._say(400, {"error": "not what was announced"})
                return
            hub.stored[digest] = body
            self._say(200, {})

        def _commit(self, kept: Repository, repo: str, body: bytes) -> None:
            for line in body.splitlines():
                said = json.loads(line)
                value = said["value"]
                if said["key"] == "file":
                    kept.files[value["path"]] = base64.b64decode(value["content"])
                elif said["key"] == "lfsFile":
                    kept.files[value["path"]] = hub.stored[value["oid"]]
                    kept.large.add(value["path"])
                elif said["key"] == "deletedFile":
                    del kept.files[value["path"]]
                else:
                    kept.commits.append(value["summary"])
            oid = hashlib.sha1(body, usedforsecurity=False).hexdigest()
            self._say(200, {"success": True, "commitOid": oid, "commitUrl": f"{hub.url}/{repo}/commit/{oid}"})

        def _begun(self) -> str | None:
            """The path without its question; None where the token was refused."""
            path = self.path.partition("?")[0]
            hub.asked.append(f"{self.command} {path}")
            if self.headers.get("authorization") != f"Bearer {TOKEN}":
                self._say(401, {"error": "Invalid credentials"})
                return None
            return path

        def _say(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"content-type": "application/json", **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    def _wanted(asked: dict[str, Any]) -> dict[str, Any]:
        if asked["oid"] in hub.stored:
            return asked
        return {**asked, "actions": {"upload": {"href": f"{hub.url}/storage/{asked['oid']}", "header": {}}}}

    def _described(repo: str, found: Repository) -> dict[str, Any]:
        siblings = []
        for name, content in found.files.items():
            one: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": blob_id(content)}
            if name in found.large:
                one["lfs"] = {
                    "sha256": hashlib.sha256(content).hexdigest(),
                    "size": len(content),
                    "pointerSize": 130,
                }
            siblings.append(one)
        sha = hashlib.sha1("".join(found.commits).encode(), usedforsecurity=False).hexdigest()
        return {
            "id": repo,
            "_id": "1",
            "sha": sha,
            "private": found.private,
            "siblings": siblings,
            "tags": [],
            "downloads": 0,
            "likes": 0,
        }

    return Handler
