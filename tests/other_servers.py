"""What takes the place of servers that are not ours, so that tests need not have them."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

VLLM = f"""#!{sys.executable}
# It says how it was called, names its model once it may, and ends where it is told to.
import json, os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
print(json.dumps(sys.argv[1:]), flush=True)
if os.environ.get("VLLM_TEST_ENDS"):
    sys.exit("ValueError: no memory for the cache\\nbye")
class Well(BaseHTTPRequestHandler):
    def do_GET(self):
        loading = os.path.exists(os.environ.get("VLLM_TEST_LOADS", ""))
        self.send_response(200 if self.path == "/v1/models" and not loading else 404)
        self.end_headers()
        name = "another" if loading else sys.argv[sys.argv.index("--served-model-name") + 1]
        self.wfile.write(json.dumps({{"data": [{{"id": name}}]}}).encode())
HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Well).serve_forever()
"""


def install_vllm(folder: Path) -> Path:
    """Put a command `vllm` into a folder, which is returned to be put on the PATH."""
    command = folder / "vllm"
    command.write_text(VLLM, encoding="utf-8")
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    return folder
