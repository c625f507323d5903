"""A real web server on this machine that serves a folder, files or parts of them, and breaks off when it is told to."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class WebServer(ThreadingHTTPServer):
    """Serves a folder; counts what it sends of files."""

    daemon_threads = True

    def __init__(self, folder: Path, *, parts: bool) -> None:
        super().__init__(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
        self.parts = parts
        """Whether it gives parts of files."""
        self.breaks = 0
        """Answers that are still to be broken off half way; below 0: all."""
        self.refuses = False
        """Whether it answers 403."""
        self.sent = 0
        """Bytes of files."""

    @property
    def url(self) -> str:
        """Of the folder, without a slash at its end."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(SimpleHTTPRequestHandler):
    server: WebServer

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if self.server.refuses:
            self.send_error(403)
        elif not path.is_file():
            super().do_GET()
        else:
            self._send(path.read_bytes())

    def do_HEAD(self) -> None:
        if self.server.refuses:
            self.send_error(403)
        else:
            super().do_HEAD()

    def _send(self, content: bytes) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked and self.server.parts:
            first, last = int(asked[1]), min(int(asked[2]), len(content) - 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            content = content[first : last + 1]
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.server.breaks:
            self.server.breaks -= 1
            content = content[: len(content) // 2]
            self.close_connection = True
        try:
            self.wfile.write(content)
        except OSError:
            return  # whoever asked wanted no more
        self.server.sent += len(content)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def web_server(folder: Path, *, parts: bool = True) -> Iterator[WebServer]:
    """A server that runs until the `with` block ends."""
    with WebServer(folder, parts=parts) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
