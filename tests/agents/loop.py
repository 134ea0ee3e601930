"""A short loop with the OpenAI Agents SDK: python3 openai_agents.py URL API, where API is responses or chat."""

import asyncio
import pathlib
import sys

from agents import Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI


@function_tool
def read_notes(name: str) -> str:
    """Reads a file of notes."""
    return (pathlib.Path.cwd() / pathlib.Path(name).name).read_text()


async def main(url, api):
    set_tracing_disabled(True)
    client = AsyncOpenAI(base_url=f"{url}/v1", api_key="sk-dummy", max_retries=0)
    kind = {"responses": OpenAIResponsesModel, "chat": OpenAIChatCompletionsModel}[api]
    model = kind(model="gpt-5-mini", openai_client=client)
    agent = Agent(name="Notes", instructions="Answer from the notes.", model=model, tools=[read_notes])
    question = "What do the notes in notes.txt say?"
    print((await Runner.run(agent, question)).final_output)
    streamed = Runner.run_streamed(agent, question + " In one word.")
    async for _ in streamed.stream_events():
        pass
    print(streamed.final_output)


asyncio.run(main(*sys.argv[1:]))
