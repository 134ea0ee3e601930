"""What the `python_forms_*.py` beside this have in common: an upstream with canned answers, sidecache in front of it,
and the comparison of what a vendor's client makes of an answer's two forms."""

import contextlib
import http.server
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request


class Upstream(http.server.ThreadingHTTPServer):
    """Answers each POST with what `reply(path, body)` gives: a media type and the body's pieces. Or as `handler` does."""

    daemon_threads = True

    def __init__(self, reply=None, handler=None):
        self.reply = reply
        self.calls = 0
        super().__init__(("127.0.0.1", 0), handler or Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.server.calls += 1
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        media, pieces = self.server.reply(self.path, body)
        self.send_response(200)
        self.send_header("content-type", media)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for piece in pieces:
            data = piece.encode()
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def sidecache(command, upstream):
    """Runs sidecache in front of an upstream; gives its base URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    process = subprocess.Popen(
        [command, "--upstream", upstream.url, "--listen", listen, "--admin-listen", "off"], stdout=subprocess.DEVNULL
    )
    try:
        for _ in range(200):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://{listen}/health/live", timeout=1).close()
                break
            time.sleep(0.05)
        yield f"http://{listen}"
    finally:
        process.terminate()
        process.wait(30)


def pieces(text, size=7):
    """A text as a model would stream it."""
    return [text[at : at + size] for at in range(0, len(text), size)]


def sse(events):
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]


def plain(model):
    """What a client's answer says. Members that are null say what missing ones do: the clients have a default."""
    return model.model_dump(mode="json", exclude_none=True, warnings=False)


def run(name, reply, cases, ask_json, ask_stream):
    """Asks each case in one form first and then in the other, which must be a HIT and say the same.

    `ask_json` and `ask_stream` get a base URL, a case and what tells this question from the others; they give the
    answer, and its `x-cache` header.
    """
    upstream, failures = Upstream(reply), 0
    with sidecache(sys.argv[1], upstream) as base_url:
        for case in cases:
            orders = {"JSON then stream": (ask_json, ask_stream), "stream then JSON": (ask_stream, ask_json)}
            for order, asks in orders.items():
                (first, first_cache), (second, second_cache) = (ask(base_url, case, order) for ask in asks)
                same = first == second
                fine = same and (first_cache, second_cache) == ("MISS", "HIT")
                failures += not fine
                print(f"{name:<10} {case:<10} {order}: {first_cache} {second_cache} {'same' if same else 'DIFFERENT'}")
                if not same:
                    print(json.dumps(first, indent=1), json.dumps(second, indent=1), sep="\n---\n", file=sys.stderr)
        if upstream.calls != 2 * len(cases):
            print(f"The upstream was asked {upstream.calls} times, not {2 * len(cases)}.", file=sys.stderr)
            failures += 1
    return 1 if failures else 0
