"""Checks with the `cohere` package that a chat answered as JSON streams as the same answer, and the other way.

    pip install cohere
    python python_forms_cohere.py PATH/TO/sidecache

Starts an upstream with canned answers and sidecache in front of it, both on free ports. Exits 1 on any difference.
"""

import json
import sys

import cohere
from python_forms import pieces, plain, run, sse

DOCUMENT = {"id": "42", "title": "Städte", "snippet": "Paris is \"the\" city.\u2028"}


def citation(start, text, kind, *sources):
    return {"start": start, "end": start + len(text), "text": text, "sources": list(sources), "type": kind}


FROM_DOCUMENT = {"type": "document", "id": "42", "document": DOCUMENT}
FROM_TOOL = {"type": "tool", "id": "weather_1:0", "tool_output": {"celsius": "7.5", "deep": {"a": [1]}}}
CALLS = [
    {"id": "weather_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Köln","days":[1,2.5]}'}},
    {"id": "now_2", "type": "function", "function": {"name": "now", "arguments": "{}"}},
]
TOKENS = ["Par", "is", ".", "\u2028"]
LOGPROBS = [{"text": token, "token_ids": [at, 7], "logprobs": [-0.25, -1e-7]} for at, token in enumerate(TOKENS)]
USAGE = {"billed_units": {"input_tokens": 25, "output_tokens": 75}, "tokens": {"input_tokens": 500, "output_tokens": 80}}

# Each case: the message, the reason to stop, the usage, and the log-probabilities.
CASES = {
    "text": ({"content": [{"type": "text", "text": "Café \"au\" lait\n\u0085😀 " * 700}]}, "COMPLETE", USAGE, None),
    "citations": (
        {
            "content": [{"type": "thinking", "thinking": "Let me see.\n"}, {"type": "text", "text": "It is Paris."}],
            "citations": [
                citation(0, "Let me", "THINKING_CONTENT", FROM_DOCUMENT),
                {**citation(6, "Paris", "TEXT_CONTENT", FROM_DOCUMENT, FROM_TOOL), "content_index": 1},
            ],
        },
        "COMPLETE",
        {**USAGE, "cached_tokens": 480},
        None,
    ),
    "tools": ({"tool_plan": "I will ask twice.\u2028", "tool_calls": CALLS}, "TOOL_CALL", USAGE, None),
    "logprobs": ({"content": [{"type": "text", "text": "".join(TOKENS)}]}, "MAX_TOKENS", USAGE, LOGPROBS),
    "grounded": (
        {
            "content": [{"type": "text", "text": "7.5 °C."}],
            "citations": [citation(0, "7.5 °C", "TEXT_CONTENT", FROM_TOOL)],
        },
        "STOP_SEQUENCE",
        USAGE,
        None,
    ),
}


def answer(case):
    message, finish_reason, usage, logprobs = CASES[case]
    whole = {"id": f"d93f187e-{case}", "message": {"role": "assistant", **message}, "finish_reason": finish_reason}
    return {**whole, "usage": usage, **({"logprobs": logprobs} if logprobs else {})}


def events(whole):
    """The answer as the API streams it, by its documentation."""
    message = whole["message"]
    start = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    yield {"id": whole["id"], "type": "message-start", "delta": {"message": start}}
    for piece in pieces(message.get("tool_plan", "")):
        yield {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": piece}}}
    citations = list(enumerate(message.get("citations", [])))
    for index, block in enumerate(message.get("content", [])):
        kind = block["type"]
        delta = {"message": {"content": {"type": kind, kind: ""}}}
        yield {"type": "content-start", "index": index, "delta": delta}
        told = [(token["text"], {"logprobs": token}) for token in whole.get("logprobs", [])]
        for piece, more in told or [(piece, {}) for piece in pieces(block[kind])]:
            yield {"type": "content-delta", "index": index, "delta": {"message": {"content": {kind: piece}}}, **more}
        if block is message["content"][-1]:
            for at, one in citations:
                yield {"type": "citation-start", "index": at, "delta": {"message": {"citations": one}}}
                yield {"type": "citation-end", "index": at}
        yield {"type": "content-end", "index": index}
    for index, call in enumerate(message.get("tool_calls", [])):
        start = {**call, "function": {**call["function"], "arguments": ""}}
        yield {"type": "tool-call-start", "index": index, "delta": {"message": {"tool_calls": start}}}
        for piece in pieces(call["function"]["arguments"]):
            delta = {"message": {"tool_calls": {"function": {"arguments": piece}}}}
            yield {"type": "tool-call-delta", "index": index, "delta": delta}
        yield {"type": "tool-call-end", "index": index}
    yield {"type": "message-end", "delta": {"finish_reason": whole["finish_reason"], "usage": whole["usage"]}}


def reply(_path, body):
    whole = answer(body["messages"][0]["content"].split(",")[0])
    if body.get("stream"):
        return "text/event-stream", sse(events(whole))
    return "application/json", [json.dumps(whole)]


def question(base_url, case, mark):
    client = cohere.ClientV2(api_key="test", base_url=base_url, client_name="test")
    return client, {"model": "command-a", "max_tokens": 1000, "messages": [{"role": "user", "content": f"{case}, {mark}"}]}


def ask_json(base_url, case, mark):
    client, request = question(base_url, case, mark)
    raw = client.with_raw_response.chat(**request)
    return plain(raw.data), raw.headers.get("x-cache")


def together(stream):
    """What the client's own events say, put together as the documentation of each event has it."""
    whole, message, logprobs = {}, {"role": "assistant"}, []
    for event in stream:
        said = getattr(getattr(event, "delta", None), "message", None)
        match event.type:
            case "message-start":
                whole["id"] = event.id
            case "content-start":
                message.setdefault("content", []).append(plain(said.content))
            case "content-delta":
                block = message["content"][event.index]
                kind = block["type"]
                block[kind] = block.get(kind, "") + (getattr(said.content, kind) or "")
                if event.logprobs:
                    logprobs.append(plain(event.logprobs))
            case "tool-plan-delta":
                message["tool_plan"] = message.get("tool_plan", "") + said.tool_plan
            case "tool-call-start":
                message.setdefault("tool_calls", []).append(plain(said.tool_calls))
            case "tool-call-delta":
                message["tool_calls"][event.index]["function"]["arguments"] += said.tool_calls.function.arguments
            case "citation-start":
                message.setdefault("citations", []).append(plain(said.citations))
            case "message-end":
                whole |= {"finish_reason": event.delta.finish_reason, "usage": plain(event.delta.usage)}
    return {**whole, "message": message, **({"logprobs": logprobs} if logprobs else {})}


def ask_stream(base_url, case, mark):
    client, request = question(base_url, case, mark)
    with client.with_raw_response.chat_stream(**request) as raw:
        return together(raw.data), raw.headers.get("x-cache")


if __name__ == "__main__":
    sys.exit(run("cohere", reply, CASES, ask_json, ask_stream))
