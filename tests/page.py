"""Walks the page of the admin listener with a browser. tests/page.sh runs it.

Each part is looked at wide and narrow, light and dark, with axe. Paths, keys and tags that are markup must stay texts.
"""

import json
import math
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from playwright.sync_api import expect, sync_playwright

BINARY, AXE, PICTURES, BROWSER = (sys.argv[1:] + [""])[:4]
EVIL = "<img src=x onerror=window.hacked=1>"
TOKEN = "a-token-of-some-length"
CHAT = "/v1/chat/completions"
JSON = {"Content-Type": "application/json"}
PRICES = """
[[price]]
model = "*"
input = 2.50
output = 10.00
currency = "USD"
"""

MEANING = """
[semantic]
mode = "serve"
embeddings = "{service}/v1/embeddings"
model = "e"
max_false_hits = "20%"
audit = "2.5%"
timeout = "5s"

[[route]]
name = "chat"
match = "POST /v1/chat/completions"
kind = "query"
dialect = "openai-chat"
semantic = true
"""
ANIMALS = ["otter", "badger", "heron", "salmon", "beetle", "rabbit", "pigeon", "weasel", "donkey", "lizard", "walrus", "magpie",
           "hamster", "ferret", "turtle", "panther", "gorilla", "buffalo"]
FRUITS = ["mango", "cherry", "banana", "papaya", "apricot"]
WORDINGS = [f"please tell me about my refund said the {animal} while it was eating the {fruit}" for fruit in FRUITS for animal in ANIMALS]

SUGGESTIONS = {
    "almost_hits": [
        {"route": "openai-chat", "part": f"header `x-run-id{EVIL}`", "share": 0.31, "misses": 412,
         "line": 'ignore_headers = ["x-run-id"]', "means": f"Callers with other values would share answers. {EVIL}"},
    ],
    "uncovered": [
        {"method": "POST", "path": f"/v1/{{}}/run{EVIL}", "requests": 90, "repeats": 41, "answers": "JSON",
         "line": '[[route]]\nname = "run"\nmatch = "POST /v1/{x}/run"'},
    ],
}
EVIL_PATH = "/%3Cimg%20src=x%20onerror=window.hacked=1%3E"


def completion(text, finish):
    return {"id": "x", "object": "chat.completion", "model": "m", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
        "usage": {"prompt_tokens": 40, "completion_tokens": 120, "total_tokens": 160}}


def vector(text):
    """All questions about refunds are near each other, and each has a little of its own."""
    own = WORDINGS.index(text) if text in WORDINGS else len(WORDINGS)
    return [1.0] + [0.15 if place == own else 0.0 for place in range(len(WORDINGS) + 1)]


class Service(BaseHTTPRequestHandler):
    """A model that answers in two milliseconds; an error for other paths."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        asked = json.loads(self.rfile.read(length) or b"{}")
        time.sleep(0.002)
        text = asked.get("messages", [{}])[0].get("content", "")
        if self.path == "/v1/embeddings":
            texts = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
            data = [{"object": "embedding", "index": index, "embedding": vector(text)} for index, text in enumerate(texts)]
            self.send(200, {"object": "list", "data": data, "model": "e", "usage": {"prompt_tokens": 1, "total_tokens": 1}})
        elif "refund" in text:
            self.send(200, completion("All about refunds", "stop"))
        elif self.path == CHAT and "model" in asked:
            self.send(200, completion(f"To {text}", "stop" if "odd" not in text else "odd"))
        else:
            self.send(404, {"detail": "no such page"})

    do_GET = do_POST = answer

    def send(self, status, answer):
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Sidecache:
    """A running sidecache, in front of the service."""

    def __init__(self, service, *arguments, config=""):
        self.folder = tempfile.TemporaryDirectory()
        path = pathlib.Path(self.folder.name) / "sidecache.toml"
        path.write_text(config)
        command = [pathlib.Path(BINARY).resolve(), "--upstream", service, "--config", path, *arguments]
        command += ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(command, cwd=self.folder.name, stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            said = json.loads(line)
            if said["message"].startswith("ready"):
                self.proxy, self.admin = (f"http://{said[name]}" for name in ("listen", "admin"))
                break
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()


def call(url, body=None, method=None, headers=JSON):
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method)) as answer:
            return answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.headers, error.read()


def day():
    """What `/history?range=24h` might say of a day."""
    until = time.time()
    waves = [math.sin(number / 40) + 1.1 for number in range(288)]
    shares = [0.35 + 0.4 * min(1, number / 90) if number < 200 else 0.2 + (number - 200) / 150 for number in range(288)]
    requests = [int(3000 * wave) for wave in waves]
    hits = [int(all_ * share) for all_, share in zip(requests, shares)]
    misses = [all_ - hit for all_, hit in zip(requests, hits)]
    times = {"hit_p50_ms": [0.6] * 288, "hit_p99_ms": [4 + wave * 3 for wave in waves],
             "miss_p50_ms": [900 + 400 * wave for wave in waves], "miss_p99_ms": [9000 * wave for wave in waves]}
    for values in times.values():
        values[150:170] = [None] * 20
    zero = [0] * 288
    event = lambda ago, name, **more: {"time": until - ago, "event": name, "count": 1, **more}
    return {
        "range": "24h", "start": until - 288 * 300, "step": 300, "until": until, "currency": "USD", "requests": requests,
        "hits": hits, "misses": misses, "coalesced": zero, "bypassed": zero, "passed": zero, "store_errors": zero,
        "failed": [30 if 150 < number < 160 else 0 for number in range(288)],
        "tokens_saved": [hit * 160 for hit in hits], "tokens_spent": [miss * 160 for miss in misses],
        "millis_saved": [hit * 1200 for hit in hits], "cost_saved": [hit * 0.0013 for hit in hits],
        "cost_spent": [miss * 0.0013 for miss in misses], **times,
        "marks": [event(60000, "reloaded"), event(41000, "store-lost"), event(38000, "store-back"), event(26400, "purge", cause="all")],
    }


def question(text):
    return {"model": "m", "messages": [{"role": "user", "content": text}]}


def traffic(sidecache):
    """Hits, misses, bypasses, what is not stored, what no route covers, and an entry with an evil tag."""
    chat = sidecache.proxy + CHAT
    for number in range(30):
        for _ in range(number % 5 + 1):
            call(chat, question(f"question {number}"))
    for number in range(6):
        call(chat, question(f"odd {number}"))
        call(chat, question("new"), headers=JSON | {"Cache-Control": "no-store"})
        call(f"{sidecache.proxy}/chat", {"question": number})
        call(sidecache.proxy + EVIL_PATH)
    headers, _ = call(chat, question("question 4"))
    key = headers["Cache-Status"].split('key="')[1].split('"')[0]
    call(f"{sidecache.admin}/entries/{key}", {"body": {"a": 1}, "tags": [EVIL, "42"]}, "PUT")
    for _ in range(9):
        call(chat, question("question 4"))
    call(f"{sidecache.admin}/purge", {"tag": "nothing has this"})


def watched(page):
    """Notes what the page must not do."""
    faults = []
    page.on("pageerror", lambda error: faults.append(f"error: {error}"))
    page.on("console", lambda message: faults.append(message.text) if "Content Security" in message.text else None)
    page.on("request", lambda request: faults.append(request.url) if not request.url.startswith(("http://127.0.0.1", "data:")) else None)
    return faults


def check_axe(page, where):
    found = page.evaluate(f"async () => {{ {pathlib.Path(AXE).read_text()}; return (await axe.run(document)).violations; }}")
    told = [f"{fault['id']}: {node['html'][:160]} {node['failureSummary']}" for fault in found for node in fault["nodes"]]
    assert not told, f"{where}: axe\n" + "\n".join(told)


def check_texts(page, where):
    """No text of a request became markup, and nothing is wider than the screen."""
    assert page.evaluate("() => window.hacked") is None, f"{where}: a text ran"
    assert page.locator("img").count() == 0, f"{where}: a text became an element"
    width, screen = page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
    assert width <= screen, f"{where}: {width} px on a screen of {screen}"


def look(page, name):
    check_axe(page, name)
    check_texts(page, name)
    page.screenshot(path=f"{PICTURES}/{name}.png", full_page=True)


def walk(browser, sidecache):
    """Each part, at both widths and in both schemes."""
    for width in (1280, 360):
        for scheme in ("light", "dark"):
            context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce")
            page = context.new_page()
            faults = watched(page)
            page.route("**/suggest", lambda route: route.fulfill(json=SUGGESTIONS))
            page.goto(sidecache.admin)
            for part in ("figures", "routes", "reasons", "suggest", "entries", "purge", "live"):
                page.get_by_role("navigation").get_by_role("link").and_(page.locator(f"[href='#{part}']")).click()
                expect(page.locator(f"#{part}")).to_be_in_viewport()
            expect(page.locator("#state")).to_contain_text("healthy")
            expect(page.locator("#meaning")).to_be_hidden()
            expect(page.locator("#meaning-link")).to_be_hidden()
            expect(page.locator("#totals")).to_contain_text("USD")
            expect(page.locator("#charts figure")).to_have_count(6)
            expect(page.locator("#by-route")).to_contain_text("openai-chat")
            expect(page.locator("#not-stored")).to_contain_text("good_ends")
            expect(page.locator("#bypassed")).to_contain_text("no-route")
            expect(page.locator("#uncovered")).to_contain_text(EVIL)
            page.locator("#live").scroll_into_view_if_needed()
            live = page.locator("#live-list")
            expect(live).to_contain_text("Nothing has come")
            call(sidecache.proxy + EVIL_PATH)
            call(sidecache.proxy + CHAT, question("question 4"))
            expect(live.locator("tbody tr").first).to_contain_text("HIT")
            expect(live.locator("tbody tr").nth(1)).to_contain_text("no-route")
            page.locator("#live-pause").click()
            call(sidecache.proxy + "/nobody-looks")
            expect(live).not_to_contain_text("nobody-looks")
            row = page.locator("#entry-list tbody tr").first
            expect(row).to_contain_text(EVIL)
            expect(row).to_contain_text("openai-chat")
            look(page, f"all-{width}-{scheme}")
            plot = page.locator(".plot").first
            plot.focus()
            page.keyboard.press("End")
            expect(page.locator(".readout").first).to_contain_text("hits by lookups")
            page.route("**/history?range=24h", lambda route: route.fulfill(json=day()))
            page.get_by_label("24 hours").check()
            expect(page.locator("#marks")).to_contain_text("Store lost")
            look(page, f"day-{width}-{scheme}")
            assert not faults, faults
            context.close()


def made_up(browser, sidecache):
    """A stream that says what no request could: markup in each of its members, and that events were missed."""
    page = browser.new_page()
    faults = watched(page)
    event = dict.fromkeys(("time", "method", "path", "status", "cache", "reason", "route", "kind", "key"), EVIL) | {"ms": 1, "bytes": 2}
    stream = f'data: {json.dumps(event)}\n\n: nothing\n\nevent: missed\ndata: {{"missed": 7}}\n\ndata: no JSON\n\n'
    page.route("**/requests", lambda route: route.fulfill(body=stream, content_type="text/event-stream"))
    page.goto(sidecache.admin + "/#live")
    page.locator("#live").scroll_into_view_if_needed()
    expect(page.locator("#live-list")).to_contain_text(f"{EVIL} {EVIL}")
    expect(page.locator("#live-said")).to_contain_text("came too fast")
    check_texts(page, "made up")
    assert not faults, faults
    page.close()


def trouble(browser, sidecache):
    """What `/health` calls degraded is no health, and what it says of the store is shown."""
    _, overview = call(sidecache.admin + "/overview")
    for status, state, notice in (("degraded", "trouble", "note bad"), ("healthy", "healthy", "note")):
        page = browser.new_page()
        faults = watched(page)
        told = json.loads(overview)
        told["health"]["status"] = status
        told["health"]["cache"]["store_problem"] = f"writes are refused: OOM {EVIL}"
        page.route("**/overview", lambda route: route.fulfill(json=told))
        page.goto(sidecache.admin)
        expect(page.locator("#state")).to_contain_text(state)
        expect(page.locator("#problem")).to_contain_text(f"writes are refused: OOM {EVIL}")
        expect(page.locator("#problem")).to_have_class(notice)
        look(page, f"store-{status}")
        assert not faults, faults
        page.close()


def purge(browser, sidecache):
    """Counts first, then purges; removes one entry after a question; all by keyboard."""
    page = browser.new_page()
    faults = watched(page)
    page.goto(sidecache.admin)
    first = page.locator("#entry-list tbody tr").first
    key = first.locator("td span").first.get_attribute("title")
    brief = first.locator("td").first.inner_text()
    first.get_by_role("button", name="Remove").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(key)
    check_axe(page, "dialog")
    page.screenshot(path=f"{PICTURES}/dialog.png")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.locator("#entry-list")).to_contain_text(brief)
    first.get_by_role("button", name="Remove").click()
    dialog.get_by_role("button", name="Remove it").click()
    expect(page.locator("#entries-said")).to_contain_text("removed")
    expect(page.locator("#entry-list")).not_to_contain_text(brief)

    button = page.locator("#purge-now")
    expect(button).to_be_hidden()
    page.get_by_role("combobox", name="What").select_option("kind")
    page.get_by_role("button", name="Count first").click()
    expect(button).to_have_text("Purge 29 entries")
    page.get_by_role("combobox", name="What").select_option("pattern")
    expect(button).to_be_hidden()
    page.get_by_role("textbox", name="Pattern").fill(f"*{EVIL}")
    page.get_by_role("button", name="Count first").click()
    expect(page.locator("#purge-said")).not_to_be_empty()
    page.get_by_role("combobox", name="What").select_option("all")
    page.get_by_role("button", name="Count first").click()
    expect(button).to_have_text("Purge 29 entries")
    page.screenshot(path=f"{PICTURES}/purge.png")
    button.click()
    expect(page.locator("#purge-said")).to_contain_text("29 entries removed")
    expect(page.locator("#entry-list")).to_contain_text("Nothing is stored yet")
    expect(page.locator("#marks")).to_contain_text("Purge of all entries")
    check_texts(page, "purge")
    assert not faults, faults
    page.close()


def meaning(browser, service):
    """How far a route is from its threshold; then a hit by meaning, which is reported as wrong."""
    with Sidecache(service, config=MEANING.format(service=service)) as sidecache:
        ask = lambda wording: call(sidecache.proxy + CHAT, question(wording))[0]
        state = lambda: json.loads(call(sidecache.admin + "/overview")[1])["health"]["semantic"]
        route = lambda: state()["routes"][0]
        page = browser.new_page()
        faults = watched(page)
        page.goto(sidecache.admin + "/#meaning")
        part = page.locator("#meaning")
        expect(part).to_contain_text("more labels at least")
        expect(part).to_contain_text("No hit by meaning was served yet")
        expect(part.get_by_role("progressbar", name="chat: labels")).to_be_visible()
        for number, wording in enumerate(WORDINGS[:-1]):
            assert ask(wording)["X-Cache"] == "MISS"
            until(lambda: state()["entries"] > number and route()["labels"] >= number)
            if route()["threshold"] is not None:
                break
        similar = ask(WORDINGS[-1])
        assert similar["X-Cache"] == "SIMILAR", similar["X-Cache"]
        expect(part).to_contain_text("✓ certified")
        row = page.locator("#similar-list tbody tr")
        expect(row).to_have_count(1)
        expect(row).to_contain_text("0.978")
        assert "refund" not in page.content()
        for width in (1280, 360):
            for scheme in ("light", "dark"):
                page.set_viewport_size({"width": width, "height": 900})
                page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                look(page, f"meaning-{width}-{scheme}")
        row.get_by_role("button", name="Report").focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("Was this answer wrong?")
        check_axe(page, "report")
        dialog.get_by_role("button", name="It was right").click()
        assert route()["false_labels"] == 0
        row.get_by_role("button", name="Report").click()
        dialog.get_by_role("button", name="It was wrong").click()
        expect(page.locator("#meaning-said")).to_contain_text("reported as wrong")
        expect(part).to_contain_text("No hit by meaning was served yet")
        assert not faults, faults
        page.close()


def until(holds):
    """Waits until something holds."""
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


def token(browser, service):
    """The page asks for the token once, and keeps it for its tab."""
    with Sidecache(service, config=f'[admin]\ntoken = "{TOKEN}"\n') as sidecache:
        page = browser.new_page()
        faults = watched(page)
        page.goto(sidecache.admin)
        field = page.locator("#login input[name=token]")
        expect(field).to_be_focused()
        check_axe(page, "token")
        page.screenshot(path=f"{PICTURES}/token.png")
        field.fill("a-wrong-token-of-some-length")
        page.keyboard.press("Enter")
        expect(page.locator("#login-why")).to_contain_text("refused")
        field.fill(TOKEN)
        page.keyboard.press("Enter")
        expect(page.locator("#start")).to_contain_text("point a client at")
        look(page, "empty")
        page.reload()
        expect(page.locator("#well")).to_contain_text("Version")
        expect(field).to_be_hidden()
        assert TOKEN not in page.url and TOKEN not in page.content()
        assert not faults, faults
        page.close()


def main():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    service = f"http://127.0.0.1:{server.server_port}"
    with sync_playwright() as playwright, Sidecache(service, config=PRICES) as sidecache:
        browser = playwright.chromium.launch(executable_path=BROWSER or None, args=["--no-sandbox"])
        expect.set_options(timeout=30_000)
        traffic(sidecache)
        walk(browser, sidecache)
        made_up(browser, sidecache)
        trouble(browser, sidecache)
        purge(browser, sidecache)
        meaning(browser, service)
        token(browser, service)
        browser.close()
    print("the page is well; its pictures are in", PICTURES)


main()
