"""Checks with the `ollama` package that an answer given as JSON streams as the same answer, and the other way.

    pip install ollama
    python python_forms_ollama.py PATH/TO/sidecache

Starts an upstream with canned answers and sidecache in front of it, both on free ports. Exits 1 on any difference.
"""

import json
import sys

import ollama
from python_forms import pieces, plain, run

CALLS = [
    {"function": {"name": "weather", "arguments": {"city": "Köln\u2028", "days": [1, 2.5], "deep": {"a": None}}}},
    {"function": {"name": "now", "arguments": {}}},
]
LOGPROBS = [{"token": token, "logprob": -0.25, "top_logprobs": [{"token": "?", "logprob": -3.5}]} for token in "Hello"]

# Each case: the text, the thinking, the tool calls, and what the answer says besides.
CASES = {
    "chat": ("Café \"au\" lait\n😀\u2028\u2029 " * 700, "", [], {}),
    "think": ("Forty-two.", "Let me think.\nAll of it.", [], {"done_reason": "stop"}),
    "tools": ("", "Which tool?", CALLS, {}),
    "logprobs": ("Hello", "", [], {"logprobs": LOGPROBS}),
    "generate": ("Blue, for Rayleigh's sake.", "Why blue?", [], {"context": [1, 2, 3]}),
}
STATISTICS = {
    "total_duration": 4883583458,
    "load_duration": 1334875,
    "prompt_eval_count": 26,
    "prompt_eval_duration": 342546000,
    "eval_count": 282,
    "eval_duration": 4535599000,
}


def line(case, text, thinking, calls, done):
    said = {"content" if case != "generate" else "response": text}
    said |= ({"thinking": thinking} if thinking else {}) | ({"tool_calls": calls} if calls else {})
    said = said if case == "generate" else {"message": {"role": "assistant", **said}}
    return {"model": "llama-test", "created_at": "2025-10-26T17:15:24.097767Z", **said, "done": done}


def reply(path, body):
    asked = body["prompt"] if path == "/api/generate" else body["messages"][0]["content"]
    case = asked.split(",")[0]
    text, thinking, calls, more = CASES[case]
    end = {"done_reason": "stop", **STATISTICS, **more}
    if not body["stream"]:
        return "application/json; charset=utf-8", [json.dumps(line(case, text, thinking, calls, True) | end)]
    lines = [line(case, "", piece, [], False) for piece in pieces(thinking)]
    size = 1 if "logprobs" in end else 7
    lines += [line(case, piece, "", [], False) for piece in pieces(text, size)]
    for at, logprob in enumerate(end.pop("logprobs", [])):
        lines[at]["logprobs"] = [logprob]
    lines += [line(case, "", "", [call], False) for call in calls]
    lines.append(line(case, "", "", [], True) | end)
    return "application/x-ndjson", [json.dumps(one) + "\n" for one in lines]


def ask(base_url, case, mark, stream):
    headers = []
    hooks = {"response": [lambda response: headers.append(response.headers)]}
    client = ollama.Client(host=base_url, event_hooks=hooks)
    asked = f"{case}, {mark}"
    if case == "generate":
        answer = client.generate("llama-test", asked, think=True, stream=stream)
    else:
        answer = client.chat("llama-test", [{"role": "user", "content": asked}], think=True, stream=stream)
    whole = join([plain(part) for part in answer]) if stream else plain(answer)
    return whole, headers[0].get("x-cache")


def join(parts):
    """What a program that reads a stream ends up with."""
    whole = parts[-1]
    said = [part.get("message", part) for part in parts]
    end = whole.get("message", whole)
    for name in ("content", "response", "thinking"):
        if any(name in part for part in said):
            end[name] = "".join(part.get(name, "") for part in said)
    for places, place, name in ((said, end, "tool_calls"), (parts, whole, "logprobs")):
        if any(name in part for part in places):
            place[name] = [item for part in places for item in part.get(name, [])]
    return whole


def ask_json(base_url, case, mark):
    return ask(base_url, case, mark, stream=False)


def ask_stream(base_url, case, mark):
    return ask(base_url, case, mark, stream=True)


if __name__ == "__main__":
    sys.exit(run("ollama", reply, CASES, ask_json, ask_stream))
