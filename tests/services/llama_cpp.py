"""llama.cpp's server: chat, completions, messages, responses, embeddings, rerank."""

import json
import threading
import time

from checks import Checks, Model, Sidecache, ask, version, wait_until

FRANCE = {"role": "user", "content": "What is the capital of France?"}


def chat(question, **more):
    message = {"role": "user", "content": question}
    return {"model": "gemma", "messages": [message], "max_tokens": 8, "temperature": 0, **more}


def chat_text(answer):
    return answer.json()["choices"][0]["message"]["content"]


def chat_stream_text(answer):
    return "".join(choice["delta"].get("content") or "" for event in answer.data() for choice in event["choices"])


def usage(answer):
    return [event["usage"] for event in answer.data() if event.get("usage")][-1]


def main():
    model = Model()
    proxy = Sidecache(model.port, "llama-cpp")
    with Checks(f"llama.cpp (xllamacpp {version('llama-cpp', 'xllamacpp')}, Gemma 3 270M)") as check:
        with check("MISS and HIT", "a chat as JSON"):
            first, _ = proxy.miss_hit("POST", "/v1/chat/completions", chat("What is the capital of France?"))
            assert chat_text(first).strip(), "the answer is empty"
            # The same meaning, written otherwise.
            body = json.dumps(chat("What is the capital of France?"), indent=3, sort_keys=True).encode()
            proxy.expect("HIT", "POST", "/v1/chat/completions", body=body, headers={"Content-Type": "application/json"})
        with check("MISS and HIT", "another question and another temperature are others"):
            proxy.expect("MISS", "POST", "/v1/chat/completions", chat("What is the capital of Spain?"))
            proxy.expect(
                "MISS", "POST", "/v1/chat/completions", chat("What is the capital of France?", temperature=0.5)
            )
        with check("MISS and HIT", "the chat's path without /v1"):
            proxy.miss_hit("POST", "/chat/completions", chat("Count to three."))
        with check("MISS and HIT", "a completion in the server's own form"):
            body = {"prompt": "The sea is", "n_predict": 6, "temperature": 0}
            first, _ = proxy.miss_hit("POST", "/completion", body)
            assert first.json()["content"], "no content"
        with check("MISS and HIT", "tokens, and back"):
            first, _ = proxy.miss_hit("POST", "/tokenize", {"content": "The sea is blue."})
            proxy.miss_hit("POST", "/detokenize", {"tokens": first.json()["tokens"]})
        with check("MISS and HIT", "count of a message's tokens"):
            proxy.miss_hit("POST", "/v1/messages/count_tokens", {"model": "gemma", "messages": [FRANCE]})
        with check("MISS and HIT", "what is about this moment passes"):
            for path in ("/props", "/slots", "/v1/models", "/metrics"):
                for answer in proxy.never_hit("GET", path):
                    assert answer.cache == "PASS", f"{path}: {answer.cache}"

        with check("both forms", "a chat that came as JSON is served as a stream"):
            stream = chat("What is the capital of France?", stream=True, stream_options={"include_usage": True})
            made = proxy.expect("HIT", "POST", "/v1/chat/completions", stream)
            plain = proxy.expect("HIT", "POST", "/v1/chat/completions", chat("What is the capital of France?"))
            assert made.headers["content-type"].startswith("text/event-stream"), made.headers["content-type"]
            assert chat_stream_text(made) == chat_text(plain), "the text is another one"
            assert usage(made) == plain.json()["usage"], "the usage is another one"
            assert made.text.rstrip().endswith("data: [DONE]"), "no [DONE]"
        with check("both forms", "a chat that came as a stream with usage is served as JSON"):
            question = chat("Where is the Nile?", stream=True, stream_options={"include_usage": True})
            first, _ = proxy.miss_hit("POST", "/v1/chat/completions", question)
            made = proxy.expect("HIT", "POST", "/v1/chat/completions", chat("Where is the Nile?"))
            direct = ask(model.port, "POST", "/v1/chat/completions", chat("Where is the Nile?"))
            assert chat_text(made) == chat_stream_text(first) == chat_text(direct), "the text is another one"
            assert made.json()["usage"]["completion_tokens"] == direct.json()["usage"]["completion_tokens"]
            assert set(made.json()) == set(direct.json()), f"{set(made.json()) ^ set(direct.json())}"
        with check("both forms", "text completions"):
            body = {"model": "gemma", "prompt": "The moon is", "max_tokens": 6, "temperature": 0}
            plain, _ = proxy.miss_hit("POST", "/v1/completions", body)
            made = proxy.expect("HIT", "POST", "/v1/completions", {**body, "stream": True})
            text = "".join(choice["text"] for event in made.data() for choice in event["choices"])
            assert text == plain.json()["choices"][0]["text"], "the text is another one"
        with check("both forms", "messages in Anthropic's shape"):
            body = {"model": "gemma", "messages": [FRANCE], "max_tokens": 8, "temperature": 0}
            plain, _ = proxy.miss_hit("POST", "/v1/messages", body)
            made = proxy.expect("HIT", "POST", "/v1/messages", {**body, "stream": True})
            deltas = [event["delta"].get("text", "") for event in made.data() if event["type"] == "content_block_delta"]
            assert "".join(deltas) == plain.json()["content"][0]["text"], "the text is another one"
            assert made.events()[-1][0] == "message_stop", made.events()[-1]
        with check("both forms", "responses"):
            body = {
                "model": "gemma",
                "input": "What is the capital of Italy?",
                "max_output_tokens": 8,
                "temperature": 0,
            }
            plain, _ = proxy.miss_hit("POST", "/v1/responses", body)
            made = proxy.expect("HIT", "POST", "/v1/responses", {**body, "stream": True})
            deltas = [event["delta"] for event in made.data() if event["type"] == "response.output_text.delta"]
            assert "".join(deltas) == plain.json()["output"][-1]["content"][0]["text"], "the text is another one"

        with check("streams", "a chat without usage, twice"):
            first, _ = proxy.miss_hit("POST", "/v1/chat/completions", chat("Who was Bach?", stream=True))
            assert chat_stream_text(first).strip(), "no text"
        with check("streams", "a completion in the server's own form, twice"):
            body = {"prompt": "The sun is", "n_predict": 6, "temperature": 0, "stream": True}
            first, _ = proxy.miss_hit("POST", "/completion", body)
            assert first.data()[-1]["stop"] is True, "no end"
        with check("streams", "two callers at the same moment ask once"):
            question, answers = chat("What is a river?", stream=True, max_tokens=24), []

            def call():
                answers.append(proxy.ask("POST", "/v1/chat/completions", question))

            before = proxy.service.count()
            threads = [threading.Thread(target=call) for _ in range(3)]
            for thread in threads:
                thread.start()
                time.sleep(0.05)
            for thread in threads:
                thread.join()
            caches = sorted(answer.cache for answer in answers)
            assert caches == ["COALESCED", "COALESCED", "MISS"], f"{caches}"
            assert proxy.service.count() - before == 1, "the service was asked more than once"
            assert len({chat_stream_text(answer) for answer in answers}) == 1, "the texts differ"

        with check("errors", "what the server refuses is not stored"):
            for body in ({"model": "gemma", "messages": "no list"}, chat("x", temperature="hot")):
                for answer in proxy.never_hit("POST", "/v1/chat/completions", body):
                    assert answer.status in (400, 500), f"status {answer.status}"
        with check("errors", "a stream that the server's death cuts is not stored"):
            body = chat("Tell a long story.", stream=True, max_tokens=400, ignore_eos=True)
            before = proxy.service.count()
            answers = []
            caller = threading.Thread(target=lambda: answers.append(proxy.ask("POST", "/v1/chat/completions", body)))
            caller.start()
            wait_until("the service is asked", lambda: proxy.service.count() > before)
            time.sleep(4)
            model.kill()
            caller.join()
            assert answers[0].status in (200, 502), f"status {answers[0].status}"
            assert not answers[0].whole or answers[0].status == 502, "the cut cannot be seen"
        with check("errors", "with the server down, what is stored is a hit, and all else a 502"):
            proxy.expect("HIT", "POST", "/v1/chat/completions", chat("What is the capital of France?"))
            answer = proxy.ask("POST", "/v1/chat/completions", chat("Tell a long story."))
            assert (answer.status, answer.cache) == (502, "MISS"), f"{answer.status} {answer.cache}"
        with check("errors", "after a restart, neither the cut stream nor the 502 is a hit"):
            model.start()
            proxy.expect("MISS", "POST", "/v1/chat/completions", chat("Tell a long story."))
            body = chat("Tell a long story.", stream=True, max_tokens=400, ignore_eos=True)
            # Only the head of this one is of interest: with only-if-cached, nothing is asked.
            answer = proxy.ask("POST", "/v1/chat/completions", body, headers={"Cache-Control": "only-if-cached"})
            assert answer.status == 504, f"status {answer.status}"

        with check("sessions", "callers with different keys do not share"):
            for key in ("a", "b"):
                headers = {"Authorization": f"Bearer {key}"}
                proxy.miss_hit("POST", "/v1/chat/completions", chat("What is ice?"), headers=headers)
        with check("sessions", "a request that names a conversation is not answered from the store"):
            for answer in proxy.never_hit("POST", "/v1/chat/completions", chat("And then?", session_id="s1")):
                assert answer.cache == "BYPASS", answer.cache

        with check("changed", "other adapters end all answers"):
            proxy.expect("HIT", "POST", "/v1/chat/completions", chat("What is the capital of France?"))
            proxy.expect("PASS", "POST", "/lora-adapters", [])
            proxy.expect("MISS", "POST", "/v1/chat/completions", chat("What is the capital of France?"))
        proxy.kill()
        model.kill()

        model = Model("embeddings", "embeddings")
        proxy = Sidecache(model.port, "llama-cpp", "sidecache-embeddings")
        with check("embeddings", "each text is an entry of its own"):
            two = {"model": "gemma", "input": ["one text", "another text"]}
            proxy.miss_hit("POST", "/v1/embeddings", two, same=lambda answer: answer.json()["data"])
            mixed = proxy.expect("PARTIAL", "POST", "/v1/embeddings", {"model": "gemma", "input": ["new", "one text"]})
            one = proxy.expect("HIT", "POST", "/v1/embeddings", {"model": "gemma", "input": "one text"})
            vector = one.json()["data"][0]["embedding"]
            assert mixed.json()["data"][1]["embedding"] == vector, "the vectors differ"
            direct = ask(model.port, "POST", "/v1/embeddings", {"model": "gemma", "input": "one text"})
            apart = max(abs(a - b) for a, b in zip(direct.json()["data"][0]["embedding"], vector, strict=True))
            assert apart < 1e-3, f"the service's own vector is {apart} away"
        with check("embeddings", "the server's own form, whole"):
            first, _ = proxy.miss_hit("POST", "/embedding", {"content": ["one text", "another text"]})
            assert len(first.json()) == 2, "not two vectors"
        proxy.kill()
        model.kill()

        model = Model("rerank", "rerank")
        proxy = Sidecache(model.port, "llama-cpp", "sidecache-rerank")
        with check("rerank", "Jina's form and TEI's"):
            body = {"model": "gemma", "query": "capital", "documents": ["Paris is a capital.", "The sea is blue."]}
            first, _ = proxy.miss_hit("POST", "/v1/rerank", body)
            assert len(first.json()["results"]) == 2, "not two results"
            first, _ = proxy.miss_hit("POST", "/rerank", {"query": "capital", "texts": ["Paris", "The sea"]})
            assert len(first.json()) == 2, "not two results"


main()
