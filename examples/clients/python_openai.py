"""Asks one question three times with the `openai` package: as JSON, as JSON again, and as a stream.

    python python_openai.py [BASE_URL]      # default: http://127.0.0.1:8080/v1, which is sidecache

All three must give the same text, and all but the first must be answered from the cache: a question that was answered
as JSON also answers the same question as a stream. Exits 1 if one of this is not so.
"""

import os
import sys

from openai import OpenAI

QUESTION = {
    "model": "extractive-bm25",
    "messages": [{"role": "user", "content": "What happens when Redis is down?"}],
}


def main() -> int:
    base_url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080/v1"
    # The example service wants no key, but the package does.
    client = OpenAI(base_url=base_url, api_key=os.environ.get("OPENAI_API_KEY", "none"))

    answers = [ask_json(client), ask_json(client), ask_stream(client)]
    for how, (text, x_cache) in zip(("JSON", "JSON again", "stream"), answers):
        print(f"{how:<10}  x-cache: {x_cache}  {text[:60]}…")

    texts = {text for text, _ in answers}
    if len(texts) != 1 or "" in texts:
        print("The texts differ, or are empty.", file=sys.stderr)
        return 1
    if any(x_cache != "HIT" for _, x_cache in answers[1:]):
        print("The repeated question was no HIT. Is this base URL sidecache's?", file=sys.stderr)
        return 1
    return 0


# Headers are only on the raw response; parse() gives what the plain call would have returned.
def ask_json(client: OpenAI) -> tuple[str, str | None]:
    raw = client.chat.completions.with_raw_response.create(**QUESTION)
    return raw.parse().choices[0].message.content or "", raw.headers.get("x-cache")


def ask_stream(client: OpenAI) -> tuple[str, str | None]:
    raw = client.chat.completions.with_raw_response.create(**QUESTION, stream=True)
    text = ""
    for chunk in raw.parse():
        if chunk.choices:
            text += chunk.choices[0].delta.content or ""
    return text, raw.headers.get("x-cache")


if __name__ == "__main__":
    sys.exit(main())
