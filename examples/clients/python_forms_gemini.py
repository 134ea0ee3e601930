"""Checks with the `google-genai` package that an answer given as JSON streams as the same answer, and the other way.

    pip install google-genai
    python python_forms_gemini.py PATH/TO/sidecache

Starts an upstream with canned answers and sidecache in front of it, both on free ports. Exits 1 on any difference.
"""

import base64
import json
import sys

from google import genai
from google.genai import types
from python_forms import pieces, plain, run

LONG = "Café \"au\" lait\n\u0085\u2028😀 " * 700
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
SIGNATURE = base64.b64encode(b"a thought").decode()
RATINGS = [{"category": "HARM_CATEGORY_HARASSMENT", "probability": "NEGLIGIBLE"}]
GROUNDING = {
    "webSearchQueries": ["Paris"],
    "groundingChunks": [{"web": {"uri": "https://example.com/", "title": "Example"}}],
    "groundingSupports": [{"segment": {"endIndex": 5, "text": "Paris"}, "groundingChunkIndices": [0]}],
    "searchEntryPoint": {"renderedContent": "<b>Paris</b>"},
}
CITATIONS = {"citations": [{"startIndex": 0, "endIndex": 5, "uri": "https://example.com/"}, {"uri": "https://b.example/"}]}
TOKENS = ["Par", "is", "."]
LOGPROBS = {
    "chosenCandidates": [{"token": token, "tokenId": at, "logProbability": -0.25} for at, token in enumerate(TOKENS)],
    "topCandidates": [{"candidates": [{"token": token, "logProbability": -0.25}]} for token in TOKENS],
}

# Each case: the candidates, each with its parts and what it has besides.
CASES = {
    "text": [([{"text": LONG}], {"safetyRatings": RATINGS})],
    "thoughts": [
        (
            [{"text": "The user wants it.\n" * 9, "thought": True}, {"text": "Here it is.", "thoughtSignature": SIGNATURE}],
            {},
        )
    ],
    "tools": [
        (
            [
                {"text": "Let me look."},
                {
                    "functionCall": {"id": "c1", "name": "weather", "args": {"city": "Köln\u2028", "days": [1, 2.5], "a": None}},
                    "thoughtSignature": SIGNATURE,
                },
                {"functionCall": {"name": "now", "args": {}}},
            ],
            {},
        )
    ],
    "code": [
        (
            [
                {"text": "I compute."},
                {"executableCode": {"language": "PYTHON", "code": "print(1)\n"}},
                {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1\n"}},
                {"text": "It is 1."},
                {"inlineData": {"mimeType": "image/png", "data": PNG}},
            ],
            {},
        )
    ],
    "sources": [([{"text": "Paris is it."}], {"groundingMetadata": GROUNDING, "citationMetadata": CITATIONS})],
    "logprobs": [([{"text": "Paris."}], {"avgLogprobs": -0.25, "logprobsResult": LOGPROBS})],
    "candidates": [([{"text": "One. " * 2000}], {}), ([{"text": "Two."}], {"safetyRatings": RATINGS})],
}


def answer(case):
    candidates = [
        {"content": {"parts": parts, "role": "model"}, "finishReason": "STOP", "index": index, **besides}
        for index, (parts, besides) in enumerate(CASES[case])
    ]
    usage = {
        "promptTokenCount": 25,
        "candidatesTokenCount": 75,
        "thoughtsTokenCount": 9,
        "cachedContentTokenCount": 5,
        "totalTokenCount": 109,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 25}],
    }
    return {"candidates": candidates, "usageMetadata": usage, "modelVersion": "gemini-test", "responseId": f"r-{case}"}


def told(candidate):
    """The parts of a candidate as the service streams them."""
    for part in candidate["content"]["parts"]:
        if set(part) <= {"text", "thought"}:
            yield from ({**part, "text": piece} for piece in pieces(part["text"]))
        else:
            yield part


def chunks(whole):
    of_each = [list(told(candidate)) for candidate in whole["candidates"]]
    count = max(len(parts) for parts in of_each)
    for number in range(count):
        elements = []
        for candidate, parts in zip(whole["candidates"], of_each):
            last = number == count - 1
            element = {name: value for name, value in candidate.items() if last or name in ("index", "safetyRatings")}
            element["content"] = {"parts": parts[number : number + 1], "role": "model"}
            if not parts[number : number + 1]:
                del element["content"]
            elements.append(element)
        usage = whole["usageMetadata"]
        if number < count - 1:
            usage = {"promptTokenCount": 25, "candidatesTokenCount": number, "totalTokenCount": 25 + number}
        yield {**whole, "candidates": elements, "usageMetadata": usage}


def reply(path, body):
    whole = answer(body["contents"][0]["parts"][0]["text"].split(",")[0])
    if ":streamGenerateContent" in path:
        assert path.endswith("?alt=sse"), path
        return "text/event-stream", [f"data: {json.dumps(chunk)}\r\n\r\n" for chunk in chunks(whole)]
    return "application/json; charset=UTF-8", [json.dumps(whole)]


def question(base_url, case, mark):
    client = genai.Client(api_key="test", http_options=types.HttpOptions(base_url=base_url))
    return client, {"model": "gemini-test", "contents": f"{case}, {mark}"}


def said(response):
    headers = response.sdk_http_response.headers
    # What the client adds of its own, the latter to documents alone.
    response.sdk_http_response = response.automatic_function_calling_history = None
    return plain(response), {name.lower(): value for name, value in headers.items()}["x-cache"]


def follow(whole, candidate):
    """Adds what a chunk says of a candidate to what is known of it."""
    known = whole.setdefault(candidate.get("index") or 0, {"parts": []})
    for part in (candidate.pop("content", None) or {}).get("parts") or []:
        last = known["parts"][-1] if known["parts"] else {}
        if set(part) | set(last) <= {"text", "thought"} and last and part.get("thought") == last.get("thought"):
            last["text"] += part["text"]
        else:
            known["parts"].append(part)
    logprobs = candidate.pop("logprobs_result", None) or {}
    for name, tokens in logprobs.items():
        known.setdefault("logprobs_result", {}).setdefault(name, []).extend(tokens)
    known.update(candidate)


def together(answers):
    """What the chunks of a stream say together; a document is a stream of one chunk."""
    whole, candidates = {}, {}
    for chunk in answers:
        for candidate in chunk.pop("candidates", None) or []:
            follow(candidates, candidate)
        whole |= chunk
    return {**whole, "candidates": candidates}


def ask_json(base_url, case, mark):
    client, request = question(base_url, case, mark)
    response, cache = said(client.models.generate_content(**request))
    return together([response]), cache


def ask_stream(base_url, case, mark):
    client, request = question(base_url, case, mark)
    answers = [said(chunk) for chunk in client.models.generate_content_stream(**request)]
    return together(chunk for chunk, _ in answers), answers[0][1]


if __name__ == "__main__":
    sys.exit(run("gemini", reply, CASES, ask_json, ask_stream))
