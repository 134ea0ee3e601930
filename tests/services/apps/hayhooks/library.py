"""What the pipelines share: documents, and Haystack's pipeline that answers from them."""

from haystack import Document, Pipeline
from haystack.components.builders import ChatPromptBuilder
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.dataclasses import ChatMessage
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.document_stores.types import DuplicatePolicy

TEMPLATE = "{% for document in documents %}{{ document.content }} {% endfor %}{{ query }}"

documents = InMemoryDocumentStore()


def keep(name, text):
    documents.write_documents([Document(id=name, content=text)], policy=DuplicatePolicy.OVERWRITE)


keep("paris", "Paris is the capital of France.")
keep("redis", "Redis keeps its data in memory.")


def answering():
    """The address of the model and its key are in OPENAI_BASE_URL and OPENAI_API_KEY."""
    pipeline = Pipeline()
    pipeline.add_component("retriever", InMemoryBM25Retriever(documents, top_k=1))
    pipeline.add_component(
        "prompt", ChatPromptBuilder([ChatMessage.from_user(TEMPLATE)], required_variables=["query", "documents"])
    )
    pipeline.add_component(
        "model",
        # It ends at its first line: what is cut by a limit is not stored.
        OpenAIChatGenerator(
            model="gemma", generation_kwargs={"max_tokens": 40, "stop": ["\n"], "temperature": 0}, max_retries=0
        ),
    )
    pipeline.connect("retriever.documents", "prompt.documents")
    pipeline.connect("prompt.prompt", "model.messages")
    return pipeline


def inputs(query):
    return {"retriever": {"query": query}, "prompt": {"query": query}}
