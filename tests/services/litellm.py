"""LiteLLM's proxy, with a master key, over llama.cpp: one model for answers and one for vectors."""

import json

from checks import WORK, Checks, Counted, Model, Process, Sidecache, ask, free_port, program, version

KEY = {"Authorization": "Bearer sk-master"}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def chat(question, model="gemma", **more):
    return {
        "model": model,
        "messages": [{"role": "user", "content": question}],
        "max_tokens": 8,
        "temperature": 0,
        **more,
    }


def chat_text(answer):
    return answer.json()["choices"][0]["message"]["content"]


def chat_stream_text(answer):
    return "".join(choice["delta"].get("content") or "" for event in answer.data() for choice in event["choices"])


def main():
    model, vectors = Model(), Model("embeddings", "embeddings")
    models = Counted(model.port)
    port = free_port()

    def deployment(name, address, **more):
        return {
            "model_name": name,
            "litellm_params": {"model": f"openai/{name}", "api_base": address, "api_key": "none", **more},
        }

    called = [
        {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
    ]
    config = {
        "model_list": [
            deployment("gemma", f"http://127.0.0.1:{models.port}/v1"),
            deployment("vectors", f"http://127.0.0.1:{vectors.port}/v1"),
            # What so small a model cannot do, LiteLLM says itself.
            deployment("tools", f"http://127.0.0.1:{models.port}/v1", mock_response="", mock_tool_calls=called),
        ],
        "litellm_settings": {"num_retries": 0, "telemetry": False},
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "general_settings": {"master_key": "sk-master"},
    }
    path = WORK / "litellm.yaml"
    path.write_text(json.dumps(config))  # JSON is YAML
    service = Process(
        "service",
        [program("litellm", "litellm"), "--config", str(path), "--host", "127.0.0.1", "--port", str(port)],
        port,
        env={"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"},
        ready="/health/liveliness",
    )
    proxy = Sidecache(service.port, "litellm")
    proxy.headers = KEY
    with Checks(f"LiteLLM proxy {version('litellm', 'litellm')}") as check:
        france = chat("What is the capital of France?")
        with check("MISS and HIT", "a chat as JSON"):
            before = models.count()
            first, second = proxy.miss_hit("POST", "/v1/chat/completions", france)
            assert chat_text(first).strip(), "no text"
            assert models.count() - before == 1, f"the model was asked {models.count() - before} times, not once"
            kept = [name for name in second.headers if "cost" in name or "call-id" in name or "duration" in name]
            assert not kept, f"the hit tells of the first call: {kept}"
        with check("MISS and HIT", "ids for LiteLLM's logs do not count, and a user does"):
            more = {"litellm_session_id": "s1", "metadata": {"trace_id": "t1"}}
            proxy.expect("MISS", "POST", "/v1/chat/completions", {**france, "metadata": {}})
            proxy.expect("HIT", "POST", "/v1/chat/completions", {**france, **more})
            proxy.expect("MISS", "POST", "/v1/chat/completions", {**france, "user": "u1"})
        with check("MISS and HIT", "the other paths of a chat, and completions"):
            proxy.miss_hit("POST", "/chat/completions", chat("Count."))
            proxy.miss_hit("POST", "/engines/gemma/chat/completions", chat("Count."))
            proxy.miss_hit("POST", "/openai/deployments/gemma/chat/completions", chat("Count."))
            proxy.miss_hit("POST", "/completions", {"model": "gemma", "prompt": "The sea is", "max_tokens": 6})
        with check("MISS and HIT", "count of tokens"):
            proxy.miss_hit("POST", "/utils/token_counter", {"model": "gemma", "prompt": "The sea is blue."})
        with check("MISS and HIT", "count of a message's tokens"):
            counted = {"model": "gemma", "messages": [{"role": "user", "content": "The sea is blue."}]}
            first, _ = proxy.miss_hit("POST", "/v1/messages/count_tokens", counted)
            assert first.json()["input_tokens"] > 0, first.text
        with check("MISS and HIT", "management passes"):
            for path in ("/v1/models", "/model/info"):
                for answer in proxy.never_hit("GET", path):
                    assert (answer.status, answer.cache) == (200, "PASS"), f"{path}: {answer.status} {answer.cache}"
        with check("MISS and HIT", "a request that says what LiteLLM's own cache shall do passes"):
            for answer in proxy.never_hit("POST", "/v1/chat/completions", {**france, "cache": {"no-cache": True}}):
                assert answer.cache == "PASS", answer.cache

        with check("both forms", "a chat that came as JSON is served as a stream"):
            usage = {"stream": True, "stream_options": {"include_usage": True}}
            made = proxy.expect("HIT", "POST", "/v1/chat/completions", {**france, **usage})
            plain = proxy.expect("HIT", "POST", "/v1/chat/completions", france)
            assert chat_stream_text(made) == chat_text(plain), "another text"
            assert made.events()[-1] == (None, "[DONE]"), "no [DONE]"
        with check("both forms", "a chat that came as a stream with usage is served as JSON"):
            first, _ = proxy.miss_hit("POST", "/v1/chat/completions", chat("Where is the Nile?", **usage))
            made = proxy.expect("HIT", "POST", "/v1/chat/completions", chat("Where is the Nile?"))
            direct = ask(service.port, "POST", "/v1/chat/completions", chat("Where is the Nile?"), headers=KEY)
            assert chat_text(made) == chat_stream_text(first) == chat_text(direct), "another text"
            assert made.json()["usage"]["completion_tokens"] == direct.json()["usage"]["completion_tokens"]
        with check("both forms", "calls of tools"):
            question = {**chat("Weather in Paris?", "tools"), "tools": [WEATHER]}
            plain, _ = proxy.miss_hit("POST", "/v1/chat/completions", question)
            made = proxy.expect("HIT", "POST", "/v1/chat/completions", {**question, "stream": True})
            calls = [
                call
                for event in made.data()
                for choice in event["choices"]
                for call in choice["delta"].get("tool_calls") or []
            ]
            told = plain.json()["choices"][0]["message"]["tool_calls"][0]["function"]
            assert "".join(call["function"].get("name") or "" for call in calls) == told["name"], f"{calls}"
            assert "".join(call["function"].get("arguments") or "" for call in calls) == told["arguments"], f"{calls}"
        with check("both forms", "messages in Anthropic's shape"):
            message = {"model": "gemma", "messages": [{"role": "user", "content": "Where is Rome?"}], "max_tokens": 8}
            plain, _ = proxy.miss_hit("POST", "/v1/messages", message)
            made = proxy.expect("HIT", "POST", "/v1/messages", {**message, "stream": True})
            deltas = [event["delta"].get("text", "") for event in made.data() if event["type"] == "content_block_delta"]
            assert "".join(deltas) == plain.json()["content"][0]["text"], "another text"
        with check("both forms", "responses"):
            oslo = {"model": "gemma", "input": "Where is Oslo?", "max_output_tokens": 8}
            plain, _ = proxy.miss_hit("POST", "/v1/responses", oslo)
            made = proxy.expect("HIT", "POST", "/v1/responses", {**oslo, "stream": True})
            deltas = [event["delta"] for event in made.data() if event["type"] == "response.output_text.delta"]
            assert "".join(deltas) == plain.json()["output"][-1]["content"][0]["text"], "another text"

        with check("streams", "a chat without usage, twice"):
            first, _ = proxy.miss_hit("POST", "/v1/chat/completions", chat("Who was Bach?", stream=True))
            assert chat_stream_text(first).strip(), "no text"

        with check("embeddings", "each text is an entry of its own"):
            two = {"model": "vectors", "input": ["one text", "another text"]}
            proxy.miss_hit("POST", "/v1/embeddings", two, same=lambda answer: answer.json()["data"])
            mixed = proxy.expect(
                "PARTIAL", "POST", "/v1/embeddings", {"model": "vectors", "input": ["new", "one text"]}
            )
            one = proxy.expect("HIT", "POST", "/v1/embeddings", {"model": "vectors", "input": ["one text"]})
            assert mixed.json()["data"][1]["embedding"] == one.json()["data"][0]["embedding"], "the vectors differ"

        with check("errors", "a change of the models that LiteLLM refuses, as it has no database here, ends nothing"):
            answer = proxy.ask("POST", "/model/new", deployment("added", f"http://127.0.0.1:{models.port}/v1"))
            assert answer.status in (400, 500) and answer.cache == "PASS", f"{answer.status} {answer.cache}"
            proxy.expect("HIT", "POST", "/v1/chat/completions", france)

        with check("errors", "with the model down, nothing is stored"):
            model.kill()
            down = chat("Is it down?")
            for body in (down, {**down, "stream": True}):
                for answer in proxy.never_hit("POST", "/v1/chat/completions", body):
                    assert answer.status >= 400 or "error" in answer.text, f"{answer.status} {answer.text!r}"
            message = {"model": "gemma", "messages": down["messages"], "max_tokens": 8}
            for body in (message, {**message, "stream": True}):
                for answer in proxy.never_hit("POST", "/v1/messages", body):
                    assert answer.status >= 400 or "error" in answer.text, f"{answer.status} {answer.text!r}"
            proxy.expect("HIT", "POST", "/v1/chat/completions", france)
        with check("errors", "with the model back, the same questions get answers"):
            model.start()
            proxy.miss_hit("POST", "/v1/chat/completions", down)
            proxy.miss_hit("POST", "/v1/messages", message)
        with check("errors", "what LiteLLM refuses is not stored"):
            for answer in proxy.never_hit("POST", "/v1/chat/completions", chat("Hello", "nothing")):
                assert answer.status in (400, 404), answer.status

        with check("sessions", "whoever has not the key gets no answer from the store"):
            for key in (None, "Bearer sk-wrong"):
                for answer in proxy.never_hit("POST", "/v1/chat/completions", france, headers={"Authorization": key}):
                    # A 500: without a database, LiteLLM 1.108.7 fails while it refuses.
                    assert answer.status in (400, 401, 403, 500), answer.status
            proxy.expect("HIT", "POST", "/v1/chat/completions", france)
        with check("sessions", "a conversation that the server keeps is not answered from the store"):
            for answer in proxy.never_hit("POST", "/v1/chat/completions", {**france, "thread_id": "t1"}):
                assert answer.cache in ("BYPASS", "PASS"), answer.cache
            for answer in proxy.never_hit("POST", "/v1/responses", {**oslo, "store": True}):
                assert answer.cache == "PASS", answer.cache


main()
