"""txtai's API with an index, a model and RAG, over llama.cpp: its answers and vectors come by way of LiteLLM."""

import json

from checks import WORK, Checks, Counted, Model, Process, Sidecache, ask, free_port, python, version

FRANCE = "/rag?query=capital%20of%20France&maxlength=8"
REDIS = "/rag?query=Redis&maxlength=8"


def chat(model, question, **more):
    limit = {"max_completion_tokens": 8} if model != "embeddings" else {}  # a search has no length
    return {"model": model, "messages": [{"role": "user", "content": question}], **limit, **more}


def stream_text(answer):
    return "".join(choice["delta"].get("content") or "" for event in answer.data() for choice in event["choices"])


def main():
    model, vectors = Model(), Model("embeddings", "embeddings")
    models = Counted(model.port)
    answers = {"path": "openai/gemma", "method": "litellm", "api_base": f"http://127.0.0.1:{models.port}/v1"}
    answers |= {"api_key": "none", "temperature": 0, "max_retries": 0}
    config = {
        "writable": True,
        "embeddings": {
            "path": "openai/gemma",
            "method": "litellm",
            "vectors": {"api_base": f"http://127.0.0.1:{vectors.port}/v1", "api_key": "none"},
            "content": True,
            "backend": "numpy",
        },
        "llm": answers,
        "rag": {**answers, "output": "reference", "context": 1, "template": "{context} {question}"},
        "openai": True,
    }
    path = WORK / "config.yml"
    path.write_text(json.dumps(config))  # JSON is YAML
    port = free_port()
    service = Process(
        "service",
        [python("txtai"), "-m", "uvicorn", "txtai.api:app", "--port", str(port)],
        port,
        env={"CONFIG": str(path), "HF_HUB_OFFLINE": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        ready="/openapi.json",
    )
    proxy = Sidecache(service.port, "txtai")
    with Checks(f"txtai {version('txtai', 'txtai')}") as check:

        def add(*rows):
            proxy.expect("PASS", "POST", "/add", [{"id": name, "text": text} for name, text in rows])

        with check("documents changed", "rows are added and indexed"):
            add(("paris", "Paris is the capital of France."), ("redis", "Redis keeps its data in memory."))
            proxy.expect("PASS", "GET", "/index")
            assert ask(service.port, "GET", "/count").json() == 2, "not two rows"

        with check("MISS and HIT", "a question in the URL"):
            before = models.count()
            first, _ = proxy.miss_hit("GET", FRANCE)
            assert first.json()["answer"].strip(), first.text
            assert models.count() - before == 1, f"the model was asked {models.count() - before} times, not once"
        with check("MISS and HIT", "another question and another length are others"):
            proxy.expect("MISS", "GET", REDIS)
            proxy.expect("MISS", "GET", "/rag?query=capital%20of%20France&maxlength=6")
        with check("MISS and HIT", "the model, search, vectors"):
            first, _ = proxy.miss_hit("GET", "/llm?text=The%20sea%20is&maxlength=8")
            assert isinstance(first.json(), str) and first.json().strip(), first.text
            first, _ = proxy.miss_hit("GET", "/search?query=capital&limit=2")
            assert {row["id"] for row in first.json()} == {"paris", "redis"}, first.text
            proxy.miss_hit("GET", "/transform?text=Hello")
        with check("MISS and HIT", "lists of questions"):
            first, _ = proxy.miss_hit("POST", "/batchrag", {"queries": ["Redis", "France"], "maxlength": 8})
            assert len(first.json()) == 2, first.text
            proxy.miss_hit("POST", "/batchllm", {"texts": ["The sea is"], "maxlength": 8})
            proxy.miss_hit("POST", "/batchsearch", {"queries": ["capital", "store"], "limit": 1})
            proxy.miss_hit("POST", "/batchtransform", ["Hello", "World"])
        with check("MISS and HIT", "what is about this moment passes"):
            for answer in proxy.never_hit("GET", "/count"):
                assert (answer.status, answer.cache) == (200, "PASS"), f"{answer.status} {answer.cache}"

        with check("embeddings", "each text is an entry of its own"):
            two = {"model": "embeddings", "input": ["one text", "another text"]}
            proxy.miss_hit("POST", "/v1/embeddings", two, same=lambda answer: answer.json()["data"])
            mixed = proxy.expect("PARTIAL", "POST", "/v1/embeddings", {**two, "input": ["new", "one text"]})
            one = proxy.expect("HIT", "POST", "/v1/embeddings", {**two, "input": ["one text"]})
            assert mixed.json()["data"][1]["embedding"] == one.json()["data"][0]["embedding"], "the vectors differ"

        with check("streams", "bare text without a Content-Type, twice"):
            for path in ("/llm?text=The%20moon%20is&maxlength=8", FRANCE):
                first, _ = proxy.miss_hit("GET", f"{path}&stream=true")
                assert first.text.strip() and "content-type" not in first.headers, f"{first.headers}"
                direct = ask(service.port, "GET", f"{path}&stream=true")
                assert first.text == direct.text, f"{first.text!r}, not {direct.text!r}"

        with check("both forms", "a chat with the model"):
            plain, _ = proxy.miss_hit("POST", "/v1/chat/completions", chat("llm", "Where is Rome?"))
            made = proxy.expect("HIT", "POST", "/v1/chat/completions", chat("llm", "Where is Rome?", stream=True))
            text = plain.json()["choices"][0]["message"]["content"]
            assert stream_text(made).strip() == text.strip(), f"{stream_text(made)!r}, not {text!r}"
            first, _ = proxy.miss_hit("POST", "/v1/chat/completions", chat("llm", "Where is Oslo?", stream=True))
            made = proxy.ask("POST", "/v1/chat/completions", chat("llm", "Where is Oslo?"))
            text = made.json()["choices"][0]["message"]["content"]
            assert stream_text(first).strip() == text.strip(), f"{stream_text(first)!r}, not {text!r}"
        with check("both forms", "a chat with RAG keeps each form apart"):
            plain, _ = proxy.miss_hit("POST", "/v1/chat/completions", chat("rag", "capital of France?"))
            first, _ = proxy.miss_hit("POST", "/v1/chat/completions", chat("rag", "capital of France?", stream=True))
            assert stream_text(first).strip(), first.text
        with check("both forms", "a chat that searches"):
            first, _ = proxy.miss_hit("POST", "/v1/chat/completions", chat("embeddings", "capital of France?"))
            assert "Paris" in first.json()["choices"][0]["message"]["content"], first.text

        with check("documents changed", "rows that are added and indexed end answers, and no vectors"):
            proxy.expect("HIT", "GET", REDIS)
            add(("redis", "Redis keeps its data on the moon."))
            proxy.expect("PASS", "GET", "/upsert")
            proxy.expect("MISS", "GET", REDIS)
            proxy.expect("HIT", "GET", REDIS)
            first = proxy.expect("MISS", "GET", "/search?query=capital&limit=2")
            assert "moon" in first.text, first.text
            proxy.expect("MISS", "POST", "/v1/chat/completions", chat("rag", "capital of France?"))
            proxy.expect("MISS", "POST", "/v1/chat/completions", chat("embeddings", "capital of France?"))
            proxy.expect("HIT", "POST", "/v1/embeddings", two)
        with check("documents changed", "a delete ends answers"):
            proxy.expect("PASS", "POST", "/delete", ["redis"])
            first, _ = proxy.miss_hit("GET", "/search?query=capital&limit=2")
            assert [row["id"] for row in first.json()] == ["paris"], first.text
            first, _ = proxy.miss_hit("GET", REDIS)
            assert first.json()["reference"] != "redis", first.text

        with check("errors", "with the model down, nothing is stored: neither a 500 nor a stream that is cut"):
            model.kill()
            down = "/rag?query=Is%20it%20down&maxlength=8"
            for path in (down, "/llm?text=Is%20it%20down&maxlength=8"):
                for answer in proxy.never_hit("GET", path):
                    assert answer.status == 500, answer.status
                for answer in proxy.never_hit("GET", f"{path}&stream=true"):
                    assert answer.status >= 500 or not answer.whole, f"{answer.status} {answer.text!r}"
            for stream in (False, True):
                for answer in proxy.never_hit(
                    "POST", "/v1/chat/completions", chat("llm", "Is it down?", stream=stream)
                ):
                    assert answer.status >= 500 or not answer.whole, f"{answer.status} {answer.text!r}"
            proxy.expect("HIT", "GET", REDIS)
        with check("errors", "with the model back, the same questions get answers"):
            model.start()
            proxy.miss_hit("GET", down)
            proxy.miss_hit("GET", f"{down}&stream=true")
            proxy.miss_hit("POST", "/v1/chat/completions", chat("llm", "Is it down?"))
        with check("errors", "what txtai refuses is not stored"):
            for answer in proxy.never_hit("GET", "/rag"):
                assert answer.status == 422, answer.status

        with check("sessions", "callers with different keys do not share"):
            for key in ("a", "b"):
                proxy.miss_hit("GET", REDIS, headers={"Authorization": f"Bearer {key}"})
        with check("sessions", "what may be an agent or a workflow passes"):
            for answer in proxy.never_hit("POST", "/v1/chat/completions", chat("another", "Hello")):
                assert answer.cache == "PASS", answer.cache


main()
