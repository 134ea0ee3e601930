"""Checks with the `openai` package that hits of transcriptions, speech, searches and responses read as the service's own.

    pip install openai
    python python_media_openai.py PATH/TO/sidecache

Starts an upstream with canned answers and sidecache in front of it, both on free ports. Exits 1 on any difference.
"""

import io
import json
import sys

import openai
from python_forms import Handler, Upstream, plain, sidecache, sse

SOUND = bytes(range(256)) * 300
VERBOSE = {"task": "transcribe", "language": "english", "duration": 2.5, "text": "Hello.", "segments": []}
TEXTS = {
    "text": ("text/plain; charset=utf-8", "Hello.\n"),
    "srt": ("text/plain; charset=utf-8", "1\n00:00:00,000 --> 00:00:02,500\nHello.\n\n"),
    "vtt": ("text/plain; charset=utf-8", "WEBVTT\n\n00:00.000 --> 00:02.500\nHello.\n\n"),
    "json": ("application/json", json.dumps({"text": "Hello."})),
    "verbose_json": ("application/json", json.dumps(VERBOSE)),
}
DONE = {"type": "transcript.text.done", "text": "Hello."}
STREAM = [{"type": "transcript.text.delta", "delta": "Hel"}, {"type": "transcript.text.delta", "delta": "lo."}, DONE]
FOUND = {
    "object": "vector_store.search_results.page",
    "search_query": ["Who?"],
    "data": [{"file_id": "file_1", "filename": "a.md", "score": 0.9, "attributes": {}, "content": [{"type": "text", "text": "Ä"}]}],
    "has_more": False,
    "next_page": None,
}


class Service(Handler):
    def answer(self, body):
        if self.path.endswith("/speech"):
            return "audio/mpeg", SOUND
        if self.path.endswith("/search"):
            return "application/json", json.dumps(FOUND).encode()
        if self.path.endswith("/responses"):
            part = {"type": "output_text", "text": "Hello.", "annotations": []}
            item = {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": [part]}
            response = {"id": f"resp_{self.server.calls}", "object": "response", "created_at": 1, "status": "completed"}
            return "application/json", json.dumps({**response, "model": "m", "output": [item]}).encode()
        if b'name="stream"\r\n\r\ntrue' in body:
            return "text/event-stream", "".join(sse(STREAM)).encode()
        found = (text for name, text in TEXTS.items() if f'"response_format"\r\n\r\n{name}\r\n'.encode() in body)
        media, text = next(found, TEXTS["json"])
        return media, text.encode()

    def do_POST(self):
        self.server.calls += 1
        media, body = self.answer(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-type", media)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_DELETE(self):
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")


def sound():
    file = io.BytesIO(SOUND)
    file.name = "hello.mp3"
    return file


def transcribed(client, endpoint, **more):
    raw = getattr(client.audio, endpoint).with_raw_response.create(model="whisper-1", file=sound(), **more)
    answer = raw.parse()
    if more.get("stream"):
        answer = [plain(event) for event in answer]
    return answer if isinstance(answer, (str, list)) else plain(answer), raw.headers.get("x-cache")


def spoken(client):
    raw = client.audio.speech.with_raw_response.create(model="tts-1", voice="alloy", input="Hello.")
    return raw.content, raw.headers.get("x-cache")


def searched(client):
    raw = client.vector_stores.with_raw_response.search("vs_1", query="Who?")
    return [plain(found) for found in raw.parse().data], raw.headers.get("x-cache")


def responded(client, **more):
    raw = client.responses.with_raw_response.create(model="m", input="Who?", **more)
    return plain(raw.parse()), raw.headers.get("x-cache")


def main():
    upstream, failures = Upstream(handler=Service), 0
    with sidecache(sys.argv[1], upstream) as base_url:
        through = openai.OpenAI(base_url=f"{base_url}/v1", api_key="test", max_retries=0)
        direct = openai.OpenAI(base_url=f"{upstream.url}/v1", api_key="test", max_retries=0)
        asks = {f"transcriptions {name}": ("transcriptions", {"response_format": name}) for name in TEXTS}
        asks |= {f"translations {name}": ("translations", {"response_format": name}) for name in TEXTS}
        asks["transcriptions stream"] = ("transcriptions", {"stream": True})
        cases = {
            name: (lambda client, endpoint=endpoint, more=more: transcribed(client, endpoint, **more))
            for name, (endpoint, more) in asks.items()
        }
        cases |= {"speech": spoken, "search": searched}
        for name, ask in cases.items():
            (own, _), (first, first_cache), (second, second_cache) = ask(direct), ask(through), ask(through)
            fine = own == first == second and (first_cache, second_cache) == ("MISS", "HIT")
            failures += not fine
            print(f"openai     {name:<28} {first_cache} {second_cache} {'same' if own == second else 'DIFFERENT'}")
        (first, _), (second, cache) = responded(through), responded(through)
        through.responses.delete(first["id"])
        (third, after) = responded(through)
        fine = first == second and cache == "HIT" and after == "MISS" and third["id"] != first["id"]
        caches = [responded(through, background=True)[1] for _ in range(2)]
        failures += not fine or caches != ["BYPASS", "BYPASS"]
        print(f"openai     responses: again {cache}, deleted {after}, in the background {caches[1]}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
