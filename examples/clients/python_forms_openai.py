"""Asks questions in one form and again in the other, with the `openai` package, and compares the answers.

    python python_forms_openai.py [BASE_URL] [MODEL]      # default: http://127.0.0.1:8080/v1, which is sidecache

Each question is new, so the first answer is a MISS. It is asked as JSON, then as a stream, without and with its usage;
and another one as a stream with its usage, then as JSON, and as a stream without. Streams are put together by the
package's own accumulator. All but the first must come from the cache and say the same: texts, several choices, tool
calls, log-probabilities, usage. Exits 1 if one of this is not so.
"""

import os
import sys
import uuid

from openai import OpenAI
from openai.lib.streaming.chat import ChatCompletionStreamState

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}

QUESTIONS = {
    "one choice": {"content": "What happens when Redis is down?"},
    "two choices": {"content": "How are keys made?", "n": 2},
    "tool calls": {"content": "What is the weather in Paris and in Oslo?", "tools": [WEATHER]},
    "log-probabilities": {"content": "How long do embeddings live?", "logprobs": True, "top_logprobs": 2},
}

JSON, STREAM = {}, {"stream": True}
STREAM_WITH_USAGE = {"stream": True, "stream_options": {"include_usage": True}}
ORDERS = {
    "JSON first": [("JSON", JSON), ("stream", STREAM), ("stream, usage", STREAM_WITH_USAGE), ("JSON", JSON)],
    "stream first": [("stream, usage", STREAM_WITH_USAGE), ("JSON", JSON), ("stream", STREAM)],
}


def main() -> int:
    base_url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080/v1"
    model = sys.argv[2] if len(sys.argv) > 2 else "extractive-bm25"
    # The example service wants no key, but the package does.
    client = OpenAI(base_url=base_url, api_key=os.environ.get("OPENAI_API_KEY", "none"))

    failures = 0
    for name, question in QUESTIONS.items():
        for order, forms in ORDERS.items():
            print(f"{name}, {order}")
            # A user of its own makes the question a new one.
            request = {**question, "model": model, "user": uuid.uuid4().hex}
            request["messages"] = [{"role": "user", "content": request.pop("content")}]
            failures += compare(client, request, forms)
    print("All answers are the same." if failures == 0 else f"{failures} answers are not as expected.")
    return 1 if failures else 0


def compare(client: OpenAI, request: dict, forms: list) -> int:
    """Asks in all these forms; how many answers were not as the first, or not from the cache."""
    failures, first = 0, None
    for name, form in forms:
        answer, x_cache = ask(client, {**request, **form})
        faults = []
        if first is None:
            first = answer
        elif x_cache != "HIT":
            faults.append("no HIT")
        # Only a stream that was not asked for its usage has none.
        expected = {**first, "usage": None} if form is STREAM else first
        faults += [f"{key} is {answer[key]}, not {expected[key]}" for key in answer if answer[key] != expected[key]]
        if not any(says_something(choice["message"]) for choice in answer["choices"]):
            faults.append("it says nothing")
        print(f"  {name:<14} x-cache: {x_cache}  {'; '.join(faults) or 'ok'}")
        failures += bool(faults)
    return failures


def ask(client: OpenAI, request: dict) -> tuple[dict, str | None]:
    # Headers are only on the raw response; parse() gives what the plain call would have returned.
    raw = client.chat.completions.with_raw_response.create(**request)
    completion = raw.parse()
    if request.get("stream"):
        state = ChatCompletionStreamState()
        for chunk in completion:
            state.handle_chunk(chunk)
        completion = state.get_final_completion()
    answer = completion.model_dump()
    kept = {key: strip(answer.get(key)) for key in ("id", "created", "model", "service_tier", "system_fingerprint")}
    kept["usage"] = strip(answer.get("usage"))
    kept["choices"] = [
        {key: strip(choice.get(key)) for key in ("index", "message", "logprobs", "finish_reason")}
        for choice in answer["choices"]
    ]
    return kept, raw.headers.get("x-cache")


def strip(value):
    """Without what is null, and without what only the accumulator adds: parsed contents, and numbers of tool calls."""
    if isinstance(value, list):
        return [strip(item) for item in value]
    if not isinstance(value, dict):
        return value
    is_call = "function" in value or "custom" in value
    added = {"parsed", "parsed_arguments"} | ({"index"} if is_call else set())
    return {key: strip(item) for key, item in value.items() if item is not None and key not in added}


def says_something(message: dict) -> bool:
    return any(message.get(key) for key in ("content", "refusal", "tool_calls", "audio"))


if __name__ == "__main__":
    sys.exit(main())
