"""A real HTTP server on loopback that takes what is sent to it and remembers it."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Receiver:
    """What came. Paths that begin with one of ``refused`` are answered by 500, those of ``slow`` not before ``let_go``."""

    port: int = 0
    paths: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    slow: set[str] = field(default_factory=set)
    let_go: threading.Event = field(default_factory=threading.Event)

    def url(self, scheme: str, path: str) -> str:
        return f"{scheme}://127.0.0.1:{self.port}{path}"


@contextmanager
def receiving(port: int = 0) -> Iterator[Receiver]:
    """Yield a receiver on this port, or a free one; it is gone after the block."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._take()

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            receiver.bodies.append(body)
            self._take()

        def _take(self) -> None:
            if any(self.path.startswith(one) for one in receiver.slow):
                receiver.let_go.wait(20)
            receiver.paths.append(self.path)
            self.send_response(500 if any(self.path.startswith(one) for one in receiver.refused) else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:
                self.close_connection = True  # the client had enough

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.let_go.set()
        server.shutdown()
        thread.join()
        server.server_close()


if __name__ == "__main__":
    with receiving(int(sys.argv[1])):
        print("ready", flush=True)
        threading.Event().wait()
