"""What the checks of all services share: processes, sidecache in front of them, requests, and the count of checks.

tests/services.sh installs a service and runs its file of checks with these variables:

    SIDECACHE  the binary
    PRESETS    a folder with presets, for use in place of those in the binary; may be empty
    VENVS      the folder with an environment for each service
    WORK       a folder for logs and data, this service's own
    ROW        the file that gets the service's row of the table
"""

import atexit
import contextlib
import dataclasses
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
WORK = pathlib.Path(os.environ["WORK"])
TIMEOUT = 300


def program(name, program):
    """A program in a service's environment."""
    return str(pathlib.Path(os.environ["VENVS"]) / name / "bin" / program)


def python(name):
    return program(name, "python")


def upload(name, text, field="file"):
    """A form with one file."""
    body = (
        f'--a-boundary\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
        f"Content-Type: text/plain\r\n\r\n{text}\r\n--a-boundary--\r\n"
    ).encode()
    return {"body": body, "headers": {"Content-Type": "multipart/form-data; boundary=a-boundary"}}


def version(name, *packages):
    """The versions of packages in a service's environment."""
    code = "import sys, importlib.metadata as m; print(', '.join(m.version(p) for p in sys.argv[1:]))"
    return subprocess.run(
        [python(name), "-c", code, *packages], check=True, capture_output=True, text=True
    ).stdout.strip()


# ---- processes


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def listens(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(what, condition, seconds=TIMEOUT):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {seconds} s")


class Process:
    """A program that listens on a port. It can be killed and started again."""

    running = set()

    def __init__(self, name, command, port, env=None, ready=None):
        self.name, self.command, self.port, self.ready = name, command, port, ready
        self.env = {**os.environ, "PYTHONPYCACHEPREFIX": os.path.join(os.environ["VENVS"], "pycache"), **(env or {})}
        self.process = None
        self.start()

    def start(self):
        log = open(WORK / f"{self.name}.log", "ab")
        # A session of its own, so that all it starts can be killed with it.
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=self.env,
            cwd=WORK,
            start_new_session=True,
        )
        Process.running.add(self)

        def up():
            if self.process.poll() is not None:
                tail = (WORK / f"{self.name}.log").read_text(errors="replace")[-2000:]
                raise SystemExit(f"{self.name} ended with {self.process.returncode}:\n{tail}")
            if not listens(self.port):
                return False
            return self.ready is None or ask(self.port, "GET", self.ready, note=False).status == 200

        wait_until(f"{self.name} listens on port {self.port}", up)

    def kill(self):
        """At once, as a crash would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        Process.running.discard(self)

    @staticmethod
    def kill_all():
        for process in list(Process.running):
            process.kill()


def stop(*_):
    raise SystemExit(143)


atexit.register(Process.kill_all)
signal.signal(signal.SIGTERM, stop)


class Model(Process):
    """llama.cpp's server with a small Gemma."""

    def __init__(self, name="model", *arguments):
        port = free_port()
        path = WORK.parent / "gemma.gguf"
        super().__init__(
            name,
            [python("llama-cpp"), str(HERE / "apps" / "model.py"), str(port), str(path), *arguments],
            port,
            ready="/health",
        )


class Counted:
    """Passes connections on to a port, byte for byte, and remembers the requests that it saw."""

    def __init__(self, target):
        self.target, self.seen = target, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def count(self, what=""):
        return sum(request.startswith(what) for request in self.seen)

    def _accept(self):
        while True:
            client, _ = self.listener.accept()
            try:
                service = socket.create_connection(("127.0.0.1", self.target))
            except OSError:  # nobody there: the client sees that as well
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                client.close()
                continue
            for work, own in ((self._requests, (client, service)), (self._copy, (service, client))):
                threading.Thread(target=self._guarded, args=(work, *own), daemon=True).start()

    @staticmethod
    def _guarded(work, source, sink):
        with contextlib.suppress(OSError, ValueError):
            work(source, sink)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    @staticmethod
    def _copy(source, sink):
        while data := source.recv(65536):
            sink.sendall(data)

    def _requests(self, client, service):
        source = client.makefile("rb")
        while True:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                line = source.readline()
                if not line:
                    return
                head += line
            self.seen.append(head.split(b" HTTP/")[0].decode())
            service.sendall(head)
            fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
            if b"upgrade" in fields:
                while data := source.read1(65536):
                    service.sendall(data)
                return
            if b"chunked" in fields.get(b"transfer-encoding", b""):
                size = None
                while size != 0:
                    line = source.readline()
                    size = int(line.split(b";")[0], 16)
                    service.sendall(line + source.read(size) + source.readline())
            else:
                left = int(fields.get(b"content-length", 0))
                while left > 0 and (data := source.read1(min(left, 65536))):
                    service.sendall(data)
                    left -= len(data)


# ---- requests


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict
    body: bytes
    whole: bool

    @property
    def cache(self):
        return self.headers.get("x-cache")

    @property
    def text(self):
        return self.body.decode()

    def json(self):
        return json.loads(self.body)

    def lines(self):
        return [json.loads(line) for line in self.text.splitlines() if line.strip()]

    def events(self):
        """Server-sent events, as pairs of name and data."""
        events = []
        for block in self.text.replace("\r\n", "\n").split("\n\n"):
            fields = [line.partition(":")[::2] for line in block.split("\n") if line and not line.startswith(":")]
            data = [value.removeprefix(" ") for name, value in fields if name == "data"]
            names = [value.strip() for name, value in fields if name == "event"]
            if data or names:
                events.append((names[-1] if names else None, "\n".join(data)))
        return events

    def data(self):
        """The JSON of the events' data, without [DONE]."""
        return [json.loads(data) for _, data in self.events() if data and data != "[DONE]"]


exchanges = []


def ask(port, method, path, data=None, headers=None, body=None, note=True):
    """One request on a connection of its own. `data` is sent as JSON."""
    headers = dict(headers or {})
    if data is not None:
        body = json.dumps(data).encode()
        headers = {"Content-Type": "application/json", **headers}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        connection.request(method, path, body=body, headers=headers)
        response = connection.getresponse()
        whole = True
        try:
            read = response.read()
        except http.client.IncompleteRead as error:
            read, whole = error.partial, False
        except ConnectionError:
            read, whole = b"", False
        fields = {name.lower(): value for name, value in response.getheaders()}
        answer = Answer(response.status, fields, read, whole)
    except (http.client.HTTPException, OSError) as error:
        answer = Answer(0, {}, str(error).encode(), False)
    finally:
        connection.close()
    if note:
        exchanges.append((method, path, headers, body, answer))
    return answer


class Sidecache(Process):
    """sidecache in front of a service, whose requests are counted."""

    def __init__(self, service_port, preset=None, name="sidecache"):
        self.service, self.headers = Counted(service_port), {}
        port, admin = free_port(), free_port()
        command = [os.environ["SIDECACHE"], "--upstream", f"http://127.0.0.1:{self.service.port}"]
        command += ["--listen", f"127.0.0.1:{port}", "--admin-listen", f"127.0.0.1:{admin}"]
        if preset and os.environ.get("PRESETS"):
            command += ["--config", str(pathlib.Path(os.environ["PRESETS"]) / f"{preset}.toml")]
        elif preset:
            command += ["--preset", preset]
        super().__init__(name, command, port)

    def ask(self, method, path, data=None, headers=None, **more):
        """`headers` beside or in place of those that each request has; None: without it."""
        headers = {name: value for name, value in {**self.headers, **(headers or {})}.items() if value is not None}
        return ask(self.port, method, path, data, headers=headers, **more)

    def expect(self, cache, method, path, data=None, status=200, **more):
        """Asks, and wants this X-Cache and this status."""
        answer = self.ask(method, path, data, **more)
        assert answer.status == status, f"status {answer.status}, not {status}"
        assert answer.cache == cache, f"X-Cache {answer.cache}, not {cache}"
        assert answer.whole, "the answer was cut"
        return answer

    def miss_hit(self, method, path, data=None, same=None, **more):
        """A MISS, then a HIT that is the same and that the service knows nothing of."""
        before = self.service.count(f"{method} {path}")
        first = self.expect("MISS", method, path, data, **more)
        second = self.expect("HIT", method, path, data, **more)
        asked = self.service.count(f"{method} {path}") - before
        assert asked == 1, f"the service was asked {asked} times, not once"
        same = same or (lambda answer: answer.body)
        assert same(first) == same(second), "the hit's body is another one"
        kinds = [answer.headers.get("content-type") for answer in (first, second)]
        assert kinds[0] == kinds[1], f"the Content-Type was {kinds[0]} and is {kinds[1]}"
        return first, second

    def never_hit(self, method, path, data=None, times=2, **more):
        """Asks several times; the service must get each of them."""
        before = self.service.count(f"{method} {path}")
        answers = [self.ask(method, path, data, **more) for _ in range(times)]
        asked = self.service.count(f"{method} {path}") - before
        for answer in answers:
            assert answer.cache not in ("HIT", "STALE", "PARTIAL"), f"X-Cache {answer.cache}"
        assert asked == times, f"the service was asked {asked} times, not {times}"
        return answers


def preset_text(name):
    """A preset's text, for checks of what not every version covers."""
    if os.environ.get("PRESETS"):
        return (pathlib.Path(os.environ["PRESETS"]) / f"{name}.toml").read_text()
    shown = [os.environ["SIDECACHE"], "presets", name]
    return subprocess.run(shown, check=True, capture_output=True, text=True, cwd=WORK).stdout


# ---- the count


class Checks:
    """with Checks("service and version") as check: with check("topic", "what"): …"""

    def __init__(self, service):
        self.service = service
        self.topics, self.passed, self.failed = [], 0, []

    def __enter__(self):
        print(f"\n==> {self.service}", flush=True)
        return self

    @contextlib.contextmanager
    def __call__(self, topic, what):
        if topic not in self.topics:
            self.topics.append(topic)
        exchanges.clear()
        began = time.monotonic()
        try:
            yield
        except Exception as error:  # whatever it is, the next check is made all the same
            told = str(error) or type(error).__name__
            self.failed.append(f"{topic}: {what}: {told}")
            print(f"FAILED  {topic}: {what}: {told}")
            if not isinstance(error, AssertionError) or not str(error):
                traceback.print_exc(file=sys.stdout)
            for exchange in exchanges[-4:]:
                self._show(*exchange)
        else:
            self.passed += 1
            print(f"ok      {topic}: {what} ({time.monotonic() - began:.1f} s)")
        sys.stdout.flush()

    @staticmethod
    def _show(method, path, headers, body, answer):
        print(f"    > {method} {path} {json.dumps(headers)} {(body or b'')[:600]!r}")
        kept = {
            name: answer.headers.get(name) for name in ("x-cache", "cache-status", "content-type", "transfer-encoding")
        }
        print(f"    < {answer.status} whole={answer.whole} {json.dumps(kept)}")
        print(f"    < {answer.body[:700]!r}{' … ' + repr(answer.body[-200:]) if len(answer.body) > 900 else ''}")

    def __exit__(self, kind, error, _):
        Process.kill_all()
        if error is not None:
            self.failed.append(f"the checks broke off: {error}")
            traceback.print_exc(file=sys.stdout)
        total = self.passed + len(self.failed)
        result = f"all {total} passed" if not self.failed else f"{self.passed} of {total} passed"
        for failure in self.failed:
            result += f"<br>failed: {failure.splitlines()[0]}".replace("|", "\\|")
        pathlib.Path(os.environ["ROW"]).write_text(f"| {self.service} | {', '.join(self.topics)} | {result} |\n")
        print(f"{self.service}: {result.replace('<br>', '; ')}", flush=True)
        if self.failed:
            raise SystemExit(1)
