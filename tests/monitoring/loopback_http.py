"""A small HTTP server of a test's own on loopback, and a wait for what its thread does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anyio


class QuietHandler(BaseHTTPRequestHandler):
    """Answers without a line on stderr."""

    def body(self) -> bytes:
        """What was sent."""
        return self.rfile.read(int(self.headers["Content-Length"]))

    def answer(self, status: int) -> None:
        """Answer without a body."""
        self.send_response(status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """The port on which a handler answers during the body."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what a thread does."""
    with anyio.fail_after(20):
        while not condition():  # noqa: ASYNC110 - a thread sets no event of ours
            await anyio.sleep(0.01)
