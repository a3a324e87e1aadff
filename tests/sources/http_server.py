"""A local HTTP server that can misbehave."""

import socket
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves `files` by path, each request after the next fault of `faults`, as long as there are any.

    An int is answered as a status; the other faults are named in Handler.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files = {}
        self.faults = []
        self.requests = []  # paths asked for


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        fault = self.server.faults.pop(0) if self.server.faults else None
        body = self.server.files.get(self.path)
        if fault == "stall":
            time.sleep(0.5)
        elif fault == "redirect":
            self.send_response(302)
            self.send_header("Location", self.path)
            self.end_headers()
        elif isinstance(fault, int) or body is None:
            self.send_response(fault or 404)
            self.end_headers()
        elif fault != "hang up":
            self.send_file(body, fault)

    def send_file(self, body, fault):
        announced = {"announce more": len(body) + 1, "announce less": len(body) - 1}.get(fault, len(body))
        self.send_response(200)
        self.send_header("Content-Length", str(announced))
        self.end_headers()
        body = body[: len(body) // 2] if fault in ("truncate", "stop in the middle") else body
        if fault == "send slowly":
            for start in range(0, len(body), 5):
                self.wfile.write(body[start : start + 5])
                time.sleep(0.005)
        else:
            self.wfile.write(body)
        if fault == "stop in the middle":
            self.wfile.flush()
            time.sleep(0.5)

    def log_message(self, *_):
        pass


def refused_url(name: str) -> str:
    """The URL of a port at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/{name}"
