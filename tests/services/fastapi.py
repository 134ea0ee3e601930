"""The FastAPI service in examples/fastapi, without a preset: the built-in routes are enough."""

import base64
import json
import os
import socket
import threading
import time

from checks import HERE, Checks, Process, Sidecache, ask, free_port, python, upload, version

EXAMPLE = HERE.parent.parent / "examples" / "fastapi"
DOWN = {"query": "What happens when Redis is down?"}
VECTOR = {"query": "What is an embedding?"}


def without_id(answer):
    told = answer.json()
    told.pop("conversation_id")
    return told


def last_event(answer):
    return answer.data()[-1]


def frame(text):
    """A WebSocket's text frame as clients send it, with a mask of zeros."""
    data = text.encode()
    assert len(data) < 126
    return bytes([0x81, 0x80 | len(data), 0, 0, 0, 0]) + data


def read_exactly(connection, count):
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        assert more, "the connection was closed"
        data += more
    return data


def read_frame(connection):
    first, length = read_exactly(connection, 2)
    if length == 126:
        length = int.from_bytes(read_exactly(connection, 2), "big")
    return first & 0x0F, read_exactly(connection, length)


def main():
    port = free_port()
    service = Process(
        "service",
        [python("fastapi"), "-m", "uvicorn", "main:app", "--app-dir", str(EXAMPLE), "--port", str(port)],
        port,
        env={"DELAY": "0.5"},
        ready="/health",
    )
    proxy = Sidecache(service.port)
    with Checks(f"FastAPI {version('fastapi', 'fastapi')} (examples/fastapi)") as check:
        with check("MISS and HIT", "a question as JSON"):
            first, second = proxy.miss_hit("POST", "/api/v1/chat", DOWN, same=without_id)
            assert first.json()["sources"][0]["document_id"] == "redis", "no source"
            assert float(first.headers["x-process-time"]) >= 0.5 > float(second.headers["x-process-time"])
        with check("MISS and HIT", "another top_k is another question"):
            proxy.expect("MISS", "POST", "/api/v1/chat", {**DOWN, "top_k": 1})
        with check("MISS and HIT", "a document"):
            proxy.miss_hit("GET", "/api/v1/documents/redis")
        with check("MISS and HIT", "the list of documents passes"):
            proxy.never_hit("GET", "/api/v1/documents")
        with check("MISS and HIT", "each text of a request for vectors"):
            two = {"model": "toy", "input": ["Redis", "a cache"]}
            proxy.miss_hit("POST", "/api/v1/embeddings", two, same=lambda answer: answer.json()["data"])
            proxy.expect("PARTIAL", "POST", "/api/v1/embeddings", {**two, "input": ["Redis", "a vector"]})

        with check("streams", "a MISS that comes in pieces, then a HIT with the same events"):
            body = {**DOWN, "stream": True}
            first, second = proxy.miss_hit("POST", "/api/v1/chat", body, same=lambda answer: answer.events()[:-2])
            assert first.events()[-1] == second.events()[-1] == (None, "[DONE]"), "no end"
            assert last_event(first)["sources"] == last_event(second)["sources"], "other sources"
            assert last_event(second)["conversation_id"] is None, "the caller's conversation is in the hit"
            plain = proxy.expect("HIT", "POST", "/api/v1/chat", DOWN)
            assert "".join(event.get("delta", "") for event in first.data()) == plain.json()["answer"], "another text"

        with check("documents changed", "a PUT ends the document and the answers that cite it, and no others"):
            proxy.expect("MISS", "POST", "/api/v1/chat", VECTOR)
            proxy.expect("PASS", "PUT", "/api/v1/documents/redis", {"text": "When Redis is down, requests go on."})
            changed = proxy.expect("MISS", "GET", "/api/v1/documents/redis")
            assert changed.json()["text"] == "When Redis is down, requests go on."
            answer = proxy.expect("MISS", "POST", "/api/v1/chat", DOWN)
            assert answer.json()["answer"] == "When Redis is down, requests go on.", "an old answer"
            proxy.expect("MISS", "POST", "/api/v1/chat", {**DOWN, "stream": True})
            proxy.expect("HIT", "POST", "/api/v1/chat", VECTOR)
        with check("documents changed", "an upload passes, and ends the answers that cite what it replaces"):
            answer = proxy.expect(
                "PASS", "POST", "/api/v1/documents/upload", status=201, **upload("redis.txt", "Redis waits.")
            )
            assert answer.headers["location"] == "/api/v1/documents/redis", answer.headers
            answer = proxy.expect("MISS", "POST", "/api/v1/chat", DOWN)
            assert answer.json()["answer"] == "Redis waits.", "an old answer"
            proxy.expect("HIT", "POST", "/api/v1/chat", VECTOR)
        with check("documents changed", "a large upload passes as it is"):
            text = "Redis is large. " * 200_000
            answer = proxy.expect("PASS", "POST", "/api/v1/documents/upload", status=201, **upload("large.txt", text))
            assert len(answer.json()["text"]) == len(text)
            proxy.expect("PASS", "DELETE", "/api/v1/documents/large", status=204)
        with check("documents changed", "a document that was missing is there after its upload"):
            proxy.expect("MISS", "GET", "/api/v1/documents/new", status=404)
            proxy.expect("HIT", "GET", "/api/v1/documents/new", status=404)
            proxy.expect("PASS", "POST", "/api/v1/documents/upload", status=201, **upload("new.txt", "This is new."))
            proxy.expect("MISS", "GET", "/api/v1/documents/new")
        with check("documents changed", "a DELETE ends the answers that cite it"):
            proxy.expect("PASS", "DELETE", "/api/v1/documents/redis", status=204)
            answer = proxy.expect("MISS", "POST", "/api/v1/chat", DOWN)
            assert not any(source["document_id"] == "redis" for source in answer.json()["sources"]), "still cited"
            proxy.expect("MISS", "GET", "/api/v1/documents/redis", status=404)

        with check("errors", "what the service refuses is not stored"):
            for answer in proxy.never_hit("POST", "/api/v1/chat", {"query": "What?", "top_k": 0}):
                assert answer.status == 422, answer.status
            for answer in proxy.never_hit("POST", "/api/v1/documents/upload", **upload("picture.png", "x")):
                assert answer.status == 415, answer.status
        with check("errors", "a stream that is cut is not stored"):
            body = {"query": "What is FastAPI?", "stream": True}
            answers = []
            caller = threading.Thread(target=lambda: answers.append(proxy.ask("POST", "/api/v1/chat", body)))
            caller.start()
            time.sleep(0.25)
            service.kill()
            caller.join()
            assert answers[0].status == 200 and answers[0].events() and not answers[0].whole, "it was not cut"
            service.start()
            again = proxy.expect("MISS", "POST", "/api/v1/chat", body)
            assert again.events()[-1] == (None, "[DONE]")

        with check("sessions", "whoever opens a conversation has it for himself"):
            first, second = proxy.miss_hit("POST", "/api/v1/chat", {"query": "What is a key?"}, same=without_id)
            assert first.json()["conversation_id"] and second.json()["conversation_id"] is None
        with check("sessions", "a turn is asked each time, and ends the page of its conversation"):
            mine = first.json()["conversation_id"]
            page = f"/api/v1/conversations/{mine}"
            proxy.miss_hit("GET", page)
            turn = {"query": "And a vector?", "conversation_id": mine}
            for answer in proxy.never_hit("POST", "/api/v1/chat", turn):
                assert answer.cache == "BYPASS", answer.cache
            assert len(proxy.expect("MISS", "GET", page).json()["messages"]) == 6, "not three turns"
        with check("sessions", "callers with different keys do not share"):
            for key in ("a", "b"):
                headers = {"Authorization": f"Bearer {key}"}
                proxy.miss_hit("POST", "/api/v1/chat", VECTOR, headers=headers, same=without_id)

        with check("WebSocket", "a question and its answer pass through"):
            with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as connection:
                key = base64.b64encode(os.urandom(16)).decode()
                connection.sendall(
                    f"GET /api/v1/ws HTTP/1.1\r\nHost: 127.0.0.1:{proxy.port}\r\n"
                    "Connection: Upgrade\r\nUpgrade: websocket\r\n"
                    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
                )
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += connection.recv(1)
                assert head.startswith(b"HTTP/1.1 101"), head
                assert b"x-cache: pass" in head.lower(), head
                connection.sendall(frame(json.dumps(VECTOR)))
                told = []
                while not told or "done" not in told[-1]:
                    kind, data = read_frame(connection)
                    assert kind == 1, f"a frame of the kind {kind}"
                    told.append(json.loads(data))
                direct = ask(service.port, "POST", "/api/v1/chat", VECTOR).json()["answer"]
                assert "".join(piece.get("delta", "") for piece in told) == direct, "another answer"


main()
