"""Ends pods of both overlays under load: no request may fail, and no answer may be cut.

There is no cluster: this program does what the kubelet, the Deployment and the Service do, by the manifests that
manifests.py has rendered. It runs each container's arguments, environment and probes as processes, sidecache's own
binary among them, and ends them in the kubelet's order: preStop, SIGTERM to the containers, then to the native sidecars
in the reverse order of their start, SIGKILL after the grace period. A pod has an address of its own (127.1.N.1), which
stands for 0.0.0.0 and 127.0.0.1 in what its containers are told.

The Service knows a pod by its readiness probe alone, and hears of a change 100 to 500 ms late. Some clients use a new
connection for each request, others keep theirs, as pools do, until the pod closes it. All times of the manifests are a
tenth by default.

    ROUNDS=20 SCALE=1 python3 tests/deploy/terminations.py    # 20 x 4 pods of each overlay, at the times of the manifests

Python 3 alone, from 3.9 on.
"""

import asyncio
import collections
import contextlib
import json
import os
import pathlib
import random
import re
import signal
import sys
import tempfile
import time

from parts import ROOT, binary

SCALE = float(os.environ.get("SCALE", "0.1"))
ROUNDS = int(os.environ.get("ROUNDS", "5"))
# So many pods end at once, while so many more run.
AT_ONCE = 4
REST = 2
CLIENTS = 24
# So many requests are answered for each pod that ends.
LEAST = 10
TOKEN = "a-token-for-operators"
LATE = (0.1, 0.5)
PATIENCE = 60


async def until(what, look, pause=0.01):
    end = time.monotonic() + PATIENCE
    while not (found := await look()):
        if time.monotonic() > end:
            raise AssertionError(f"in vain: {what}")
        await asyncio.sleep(pause)
    return found


# ---- HTTP, as little as is needed


class Cut(Exception):
    """The answer ended before its end."""


class Connection:
    """A client's connection, for one request after the other; `choose` says where each new one leads."""

    def __init__(self, choose):
        self.choose = choose
        self.reader = self.writer = None

    async def ask(self, method, path, body=b"", headers=()):
        if self.writer and self.reader.at_eof():
            # The other side has closed it since the last answer. Pools look before they use a connection again.
            self.close()
        if not self.writer:
            self.reader, self.writer = await asyncio.open_connection(*self.choose())
        lines = [f"{method} {path} HTTP/1.1", "host: answers.example", f"content-length: {len(body)}", *headers]
        if body:
            lines.append("content-type: application/json")
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
        await self.writer.drain()
        first, headers = await head(self.reader)
        try:
            answer = await body_of(self.reader, headers)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise Cut(f"cut after {first!r}: {error}") from error
        if headers.get("connection", "").lower() == "close":
            self.close()
        return int(first.split()[1]), headers, answer

    def close(self):
        if self.writer:
            self.writer.close()
        self.reader = self.writer = None


async def head(reader):
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    pairs = (line.split(":", 1) for line in lines if line)
    return first, {name.lower(): value.strip() for name, value in pairs}


async def body_of(reader, headers):
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    parts = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readexactly(2)
    return b"".join(parts)


async def ask_once(address, method, path, body=b"", headers=()):
    connection = Connection(lambda: address)
    try:
        return await connection.ask(method, path, body, headers)
    finally:
        connection.close()


# ---- the service behind, or the provider


async def answer(reader, writer):
    """Answers chats, whole ones or streams that take up to a second."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            _, headers = await head(reader)
            body = await body_of(reader, headers)
            question = json.loads(body) if body else {}
            if question.get("stream"):
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
                for number in range(8):
                    await asyncio.sleep(random.uniform(0.02, 0.12))
                    send_event(writer, chunk(f"part {number} ", "stop" if number == 7 else None))
                    await writer.drain()
                send_event(writer, "[DONE]")
                writer.write(b"0\r\n\r\n")
            else:
                await asyncio.sleep(random.uniform(0.01, 0.3))
                message = {"role": "assistant", "content": "An answer."}
                text = json.dumps(
                    {"id": "a", "object": "chat.completion", "created": 1, "model": "m",
                     "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
                ).encode()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(text))
                writer.write(text)
            await writer.drain()
    writer.close()


def chunk(text, finish):
    return json.dumps(
        {"id": "a", "object": "chat.completion.chunk", "created": 1, "model": "m",
         "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}
    )


def send_event(writer, data):
    event = f"data: {data}\n\n".encode()
    writer.write(b"%x\r\n%s\r\n" % (len(event), event))


class Tally:
    """What clients got; a quarter of their questions are asked again and again, there are `common` of those."""

    def __init__(self, common):
        self.common = common
        self.good = collections.Counter()
        self.faults = []

    async def shows_load(self, count):
        """Whether `count` requests were answered, from the cache and by the service."""
        return sum(self.good.values()) >= count and {"HIT", "MISS"} <= set(self.good)

    def add(self, other):
        self.good.update(other.good)
        self.faults.extend(other.faults)

    async def chat(self, connection, path):
        stream = random.random() < 0.5
        number = random.randrange(self.common) if random.random() < 0.25 else random.random()
        question = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": f"Question {number}"}]}
        reused = connection.writer is not None
        try:
            status, headers, body = await connection.ask("POST", path, json.dumps(question).encode())
            if status != 200:
                raise Cut(f"status {status}: {body[:200]}")
            if not (body.endswith(b"data: [DONE]\n\n") if stream else b'"finish_reason"' in body):
                raise Cut(f"no end: {body[-100:]}")
            self.good[headers.get("x-cache")] += 1
        except (OSError, Cut, asyncio.IncompleteReadError) as error:
            self.faults.append(f"{'kept' if reused else 'new'} connection, stream={stream}: {error!r}")
            connection.close()
            await asyncio.sleep(0.02)


# ---- the kubelet


def scaled(seconds):
    return seconds * SCALE


class Pod:
    """The containers of a pod, as processes."""

    number = 0

    def __init__(self, items, service):
        Pod.number += 1
        self.address = f"127.1.{Pod.number}.1"
        self.service = service
        (deployment,) = [item for item in items if item["kind"] == "Deployment"]
        self.spec = deployment["spec"]["template"]["spec"]
        self.folder = tempfile.TemporaryDirectory()
        for volume in self.spec["volumes"]:
            (config,) = [
                item for item in items
                if item["kind"] == "ConfigMap" and item["metadata"]["name"] == volume["configMap"]["name"]
            ]
            for name, text in config["data"].items():
                pathlib.Path(self.folder.name, name).write_text(self.localised(text), encoding="utf-8")
        self.children = {}
        self.ports = {
            port["name"]: port["containerPort"] for one in self.containers() for port in one.get("ports", [])
        }

    def containers(self):
        return self.spec.get("initContainers", []) + self.spec["containers"]

    def localised(self, text):
        """A text of the manifests with this pod's address, folder and times."""
        text = text.replace("0.0.0.0", self.address).replace("127.0.0.1", self.address)
        text = text.replace("/etc/sidecache", self.folder.name).replace("/usr/local/bin/sidecache", str(binary()))
        shorter = lambda found: f'{found.group(1)} = "{int(float(found.group(2)) * 1000 * SCALE)}ms"'
        return re.sub(r'^(drain_\w+) = "(\d+)s"', shorter, text, flags=re.M)

    def environment(self, container):
        found = {}
        for variable in container.get("env", []):
            if "value" in variable:
                found[variable["name"]] = self.localised(variable["value"])
            elif variable["valueFrom"]["secretKeyRef"]["key"] == "ADMIN_TOKEN":
                found[variable["name"]] = TOKEN
            else:
                assert variable["valueFrom"]["secretKeyRef"]["optional"], variable
        if container["name"] == "sidecache":
            # The service behind the sidecaches is this program's, and the default of the admin listener is not in a text.
            found.update(UPSTREAM_URL=f"http://127.0.0.1:{self.service}", ADMIN_LISTEN=f"{self.address}:8081")
        return found

    async def run(self, container, command, **options):
        return await asyncio.create_subprocess_exec(
            *command, cwd=self.folder.name, env=self.environment(container), **options
        )

    async def start(self):
        """Containers in their order; a native sidecar's startup probe holds up those after it."""
        for container in self.containers():
            if container["image"].startswith("sidecache"):
                command = [str(binary()), *map(self.localised, container.get("args", []))]
                log = open(pathlib.Path(self.folder.name, f"{container['name']}.log"), "w", encoding="utf-8")
                self.children[container["name"]] = await self.run(container, command, stdout=log, stderr=log)
            if "startupProbe" in container:
                await until("the startup probe", lambda: self.probe(container, "startupProbe"))

    async def probe(self, container, kind):
        probe = container[kind]
        if "exec" in probe:
            command = list(map(self.localised, probe["exec"]["command"]))
            quiet = asyncio.subprocess.DEVNULL
            return await (await self.run(container, command, stdout=quiet, stderr=quiet)).wait() == 0
        try:
            port = self.ports[probe["httpGet"]["port"]]
            status, _, _ = await ask_once((self.address, port), "GET", probe["httpGet"]["path"])
        except (OSError, asyncio.IncompleteReadError):
            return False
        return 200 <= status < 400

    def ports_of_clients(self):
        return (self.address, self.ports["clients"])

    def main(self):
        """The containers that are told to stop first."""
        return [one for one in self.spec["containers"] if one["name"] in self.children]

    async def stop(self, application=None, native=True):
        """The kubelet's order; `native=False` does what it would do if all were plain containers."""
        end = time.monotonic() + scaled(self.spec["terminationGracePeriodSeconds"])
        for container in self.containers():
            hook = container.get("lifecycle", {}).get("preStop", {})
            if "exec" in hook:
                await (await self.run(container, list(map(self.localised, hook["exec"]["command"])))).wait()
            elif "sleep" in hook:
                await asyncio.sleep(scaled(hook["sleep"]["seconds"]))
        sidecars = [one for one in reversed(self.spec.get("initContainers", [])) if one.get("restartPolicy") == "Always"]
        if not native:
            for container in sidecars:
                self.children[container["name"]].send_signal(signal.SIGTERM)
        if application:
            await application.stop()
        for container in self.main():
            self.children[container["name"]].send_signal(signal.SIGTERM)
        for container in self.main():
            await self.ended(container, end)
        for container in sidecars:
            if native:
                self.children[container["name"]].send_signal(signal.SIGTERM)
            await self.ended(container, end)
        self.folder.cleanup()

    async def ended(self, container, end):
        child = self.children[container["name"]]
        try:
            status = await asyncio.wait_for(child.wait(), max(end - time.monotonic(), 0.01))
        except asyncio.TimeoutError:
            child.kill()
            raise AssertionError(f"{container['name']} did not end within the grace period") from None
        assert status == 0, f"{container['name']} ended with {status}"

    async def kill(self):
        for child in self.children.values():
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
                await child.wait()


async def scrape(pod):
    """What Prometheus gets, under the pod's address and with the token of the ServiceMonitor."""
    address = (pod.address, pod.ports["metrics"])
    status, _, body = await ask_once(address, "GET", "/metrics", headers=[f"authorization: Bearer {TOKEN}"])
    assert status == 200 and b"sidecache_requests_total" in body, (status, body[:200])
    status, _, _ = await ask_once(address, "GET", "/metrics")
    assert status == 401, f"metrics without a token: {status}"


# ---- inbound: the Service and its clients


class Service:
    """Knows pods by their readiness probe, and hears of each change late."""

    def __init__(self):
        self.ready = []
        self.watches = []

    def add(self, pod):
        self.watches.append(asyncio.create_task(self.watch(pod)))

    async def watch(self, pod):
        (container,) = pod.main()
        probe = container["readinessProbe"]
        failures = 0
        while failures < probe.get("failureThreshold", 3):
            is_ready = await pod.probe(container, "readinessProbe")
            failures = 0 if is_ready else failures + 1
            if is_ready and pod not in self.ready:
                self.ready.append(pod)
            await asyncio.sleep(scaled(probe["periodSeconds"]))
        await asyncio.sleep(random.uniform(*LATE))
        self.ready.remove(pod)

    async def client(self, tally, keeps):
        connection = Connection(lambda: random.choice(self.ready).ports_of_clients())
        while True:
            await tally.chat(connection, "/v1/chat/completions")
            if not keeps:
                connection.close()
            await asyncio.sleep(random.uniform(0.002, 0.02))


async def replaced(pods, service, items, upstream):
    """A rolling update of some pods: new ones first, then the old ones end."""
    old = pods[:AT_ONCE]
    new = [Pod(items, upstream) for _ in old]
    pods.extend(new)
    await asyncio.gather(*(pod.start() for pod in new))
    for pod in new:
        service.add(pod)

    async def all_ready():
        return all(pod in service.ready for pod in new)

    await until("the new pods are ready", all_ready)
    await asyncio.gather(*(pod.stop() for pod in old))
    del pods[: len(old)]


async def inbound(items, upstream, rounds, until_fault=False):
    service, tally = Service(), Tally(common=20)
    pods = [Pod(items, upstream) for _ in range(AT_ONCE + REST)]
    clients = []
    try:
        await asyncio.gather(*(pod.start() for pod in pods))
        for pod in pods:
            service.add(pod)

        async def all_ready():
            return len(service.ready) == len(pods)

        await until("the pods are ready", all_ready)
        await scrape(pods[0])
        clients = [asyncio.create_task(service.client(tally, number % 2)) for number in range(CLIENTS)]
        ended = 0
        for _ in range(rounds):
            await replaced(pods, service, items, upstream)
            ended += AT_ONCE
            if until_fault and tally.faults:
                break
        if not until_fault:
            await until("enough requests were answered", lambda: tally.shows_load(LEAST * ended))
    finally:
        for task in clients + service.watches:
            task.cancel()
        results = await asyncio.gather(*clients, *service.watches, return_exceptions=True)
        for pod in pods:
            await pod.kill()
    unexpected = [one for one in results if isinstance(one, Exception) and not isinstance(one, asyncio.CancelledError)]
    assert not unexpected, unexpected
    return ended, tally


# ---- outbound: the application beside sidecache


class Application:
    """Works on jobs of two calls each, from the moment that its container starts."""

    def __init__(self, pod, tally):
        (container,) = pod.spec["containers"]
        url = pod.environment(container)["OPENAI_BASE_URL"]
        host, port, self.path = re.fullmatch(r"http://([^:]+):(\d+)(/.*)", url).groups()
        self.address, self.tally = (host, int(port)), tally
        self.goes_on = True
        self.workers = [asyncio.create_task(self.work(number % 2)) for number in range(3)]

    async def work(self, keeps):
        connection = Connection(lambda: self.address)
        while self.goes_on:
            for _ in range(2):
                await self.tally.chat(connection, f"{self.path}/chat/completions")
                if not keeps:
                    connection.close()
        connection.close()

    async def stop(self):
        """As at SIGTERM: for a while it takes new jobs, since the Service hears late, then it ends those that it has."""
        await asyncio.sleep(random.uniform(*LATE))
        self.goes_on = False
        await asyncio.gather(*self.workers)


async def outbound(items, upstream, rounds, native=True):
    together = Tally(common=0)

    async def life():
        pod, tally = Pod(items, upstream), Tally(common=3)
        try:
            await pod.start()
            application = Application(pod, tally)
            (sidecache,) = [one for one in pod.containers() if one["name"] == "sidecache"]
            assert await pod.probe(sidecache, "readinessProbe") and await pod.probe(sidecache, "livenessProbe")
            await scrape(pod)
            await until("the application got enough answers", lambda: tally.shows_load(LEAST))
            await asyncio.sleep(random.uniform(0, 0.4))  # The moment of the end, at any point of a call.
            await pod.stop(application, native)
        finally:
            await pod.kill()
            together.add(tally)

    for _ in range(rounds):
        await asyncio.gather(*(life() for _ in range(AT_ONCE)))
    return rounds * AT_ONCE, together


# ---- both, and the counter-proofs


def manifests(name):
    path = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "deploy" / f"{name}.json"
    if not path.exists():
        sys.exit(f"{path} is missing: bash tests/deploy/run.sh makes it")
    return json.loads(path.read_text(encoding="utf-8"))


def report(name, ended, tally, began):
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(tally.good.items()))
    print(f"{name}: {ended} pods ended in {time.monotonic() - began:.0f} s, {kinds}; failed or cut: {len(tally.faults)}")


async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    upstream = server.sockets[0].getsockname()[1]
    for name, run in [("inbound", inbound), ("outbound", outbound)]:
        began = time.monotonic()
        ended, tally = await run(manifests(name), upstream, ROUNDS)
        report(name, ended, tally, began)
        assert not tally.faults, "\n".join(tally.faults[:20])

    # Without what the manifests do about it, requests fail: so the above shows something.
    began = time.monotonic()
    hasty = json.loads(json.dumps(manifests("inbound")).replace('drain_delay = \\"10s\\"', 'drain_delay = \\"0s\\"'))
    ended, tally = await inbound(hasty, upstream, 20, until_fault=True)
    report("inbound without drain_delay", ended, tally, began)
    assert tally.faults, "no request failed without drain_delay"
    began = time.monotonic()
    ended, tally = await outbound(manifests("outbound"), upstream, 1, native=False)
    report("outbound without a native sidecar", ended, tally, began)
    assert tally.faults, "no request failed without a native sidecar"


if __name__ == "__main__":
    asyncio.run(main())
