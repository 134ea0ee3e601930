"""Chains behind LangServe. The address of the model and its key are in OPENAI_BASE_URL and OPENAI_API_KEY."""

from fastapi import FastAPI
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnableWithMessageHistory
from langchain_openai import ChatOpenAI
from langserve import add_routes

model = ChatOpenAI(model="gemma", temperature=0, max_tokens=8, max_retries=0)
app = FastAPI()

# From a question to a text.
add_routes(app, ChatPromptTemplate.from_template("{question}") | model | StrOutputParser(), path="/rag")

# The model alone: messages in, a message out.
add_routes(app, model, path="/llm")

# With a history for each session.
histories = {}


def history(session_id):
    return histories.setdefault(session_id, InMemoryChatMessageHistory())


def turn(told):
    return f"{told['question']}: turn {len(told['history']) // 2 + 1}"


add_routes(
    app,
    RunnableWithMessageHistory(
        RunnableLambda(turn), history, input_messages_key="question", history_messages_key="history"
    ).with_types(output_type=str),
    path="/talk",
    config_keys=["configurable"],
)
