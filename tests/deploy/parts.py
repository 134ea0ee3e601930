"""What the checks of this folder share: free ports, a small service, requests, and sidecache as a process.

Python 3 alone, from 3.9 on.
"""

import contextlib
import http.client
import http.server
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

# How long a step may take before its check fails: far more than a busy machine needs.
PATIENCE = 60


def binary():
    """The sidecache to check: the one that `cargo test` has built, or the one that the environment names."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    path = pathlib.Path(os.environ.get("SIDECACHE", ROOT / target / "debug" / "sidecache"))
    if not os.access(path, os.X_OK):
        sys.exit(f"{path}: no such program; build it with: cargo build --bin sidecache")
    return path.resolve()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def eventually(what, look, patience=PATIENCE):
    """Looks again until there is something to see."""
    end = time.monotonic() + patience
    while not (found := look()):
        if time.monotonic() > end:
            raise AssertionError(f"in vain: {what}")
        time.sleep(0.01)
    return found


def ask(port, method, path, body=None, timeout=PATIENCE, headers=None):
    """A request on a connection of its own: the status, the headers and the body; `None` where nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    with contextlib.closing(connection):
        try:
            headers = dict(headers or {}, **({"Content-Type": "application/json"} if body else {}))
            connection.request(method, path, body and json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, dict((name.lower(), value) for name, value in answer.getheaders()), answer.read()
        except (OSError, http.client.HTTPException):
            return None


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers each question with the same answer."""

    protocol_version = "HTTP/1.1"
    body = json.dumps({"answer": "Requests go on to the service.", "sources": [{"document_id": "42"}]}).encode()

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_GET = do_POST

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def service():
    """A small service on a free port, which is the value."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


class Process:
    """A child whose output is collected, line by line."""

    def __init__(self, command, **options):
        self.errors = tempfile.TemporaryFile("w+")
        self.child = subprocess.Popen(
            [str(part) for part in command], stdout=subprocess.PIPE, stderr=self.errors, text=True, **options
        )
        self.lines = []
        threading.Thread(target=self._collect, daemon=True).start()

    def _collect(self):
        for line in self.child.stdout:
            self.lines.append(line)

    def complaints(self):
        self.errors.seek(0)
        return self.errors.read() + "".join(self.lines[-5:])

    def logged(self, message):
        """Waits for a line of the log that begins with `message`."""

        def look():
            if (status := self.child.poll()) is not None and not self._find(message):
                raise AssertionError(f"it ended with {status} before it logged {message!r}: {self.complaints()}")
            return self._find(message)

        return eventually(f"{message!r} in the log", look)

    def _find(self, message):
        for line in list(self.lines):
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if str(event.get("message", "")).startswith(message):
                    return event
        return None

    def signal(self, number):
        self.child.send_signal(number)

    def ended(self, patience=PATIENCE):
        return self.child.wait(patience)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
