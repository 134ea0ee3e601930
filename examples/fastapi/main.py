"""A small RAG service: chat, documents, conversations and embeddings, over HTTP and a WebSocket.

It needs no model. Retrieval counts words, and an answer is put together from the best sentences found, so the same
question gets the same answer until a document changes. DELAY seconds stand in for the time that a model would take.
"""

import asyncio
import hashlib
import json
import math
import os
import re
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, FastAPI, File, Request, Response, UploadFile, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, Field

VERSION = "1.0.0"
DELAY = float(os.environ.get("DELAY", "1.5"))
DIMENSIONS = 32
MAX_UPLOAD = 10 * 1024 * 1024
STOP_WORDS = frozenset(
    "a an and are as at be by do does for from how in is it of on or that the to what when with".split()
)


# ---- errors: all of them have one form


class RAGException(Exception):
    status = 500

    def __init__(self, message: str, **details: str) -> None:
        super().__init__(message)
        self.message, self.details = message, details


class DocumentNotFoundException(RAGException):
    status = 404


class ConversationNotFoundException(RAGException):
    status = 404


class InvalidFileTypeException(RAGException):
    status = 415


class FileTooLargeException(RAGException):
    status = 413


# ---- what goes over the wire


class ChatRequest(BaseModel):
    query: str = Field(min_length=1)
    top_k: int = Field(default=3, ge=1, le=20)
    conversation_id: str | None = None
    stream: bool = False


class Source(BaseModel):
    document_id: str
    title: str
    text: str
    score: float


class ChatResponse(BaseModel):
    query: str
    answer: str
    sources: list[Source]
    conversation_id: str


class DocumentIn(BaseModel):
    title: str | None = None
    text: str = Field(min_length=1)


class Document(BaseModel):
    document_id: str
    title: str
    text: str


class DocumentInfo(BaseModel):
    document_id: str
    title: str
    length: int


class Message(BaseModel):
    role: str
    content: str


class Conversation(BaseModel):
    conversation_id: str
    messages: list[Message]


class EmbeddingRequest(BaseModel):
    input: str | list[str]
    model: str


# ---- documents and conversations, in memory

documents: dict[str, Document] = {}
conversations: dict[str, Conversation] = {}


def keep(document_id: str, title: str, text: str) -> Document:
    document = Document(document_id=document_id, title=title, text=text)
    documents[document_id] = document
    return document


keep(
    "fastapi",
    "FastAPI",
    "FastAPI is a web framework for Python. It reads the types of parameters and checks requests with pydantic. "
    "FastAPI makes an OpenAPI page for every service.",
)
keep(
    "redis",
    "Redis",
    "Redis is a store that keeps its data in memory. A key in Redis can have a time to live. "
    "When Redis is down, a cache in front of a service should go on without it.",
)
keep(
    "embeddings",
    "Embeddings",
    "An embedding is a vector that stands for a text. Texts of similar meaning have vectors that are close. "
    "Embeddings rarely change, so they can be cached for a day.",
)


def find_document(document_id: str) -> Document:
    if document_id not in documents:
        raise DocumentNotFoundException(f"Document not found: {document_id}", document_id=document_id)
    return documents[document_id]


def find_conversation(conversation_id: str | None) -> Conversation:
    """The conversation that a request names, or a new one."""
    if conversation_id is None:
        conversation = Conversation(conversation_id=str(uuid.uuid4()), messages=[])
        conversations[conversation.conversation_id] = conversation
        return conversation
    if conversation_id not in conversations:
        message = f"Conversation not found: {conversation_id}"
        raise ConversationNotFoundException(message, conversation_id=conversation_id)
    return conversations[conversation_id]


# ---- retrieval and answers


def words(text: str) -> list[str]:
    return [word for word in re.findall(r"\w+", text.lower()) if word not in STOP_WORDS]


def retrieve(query: str, top_k: int) -> list[Source]:
    """The sentences that share the most telling words with the question."""
    sentences = [
        (document, sentence)
        for document in documents.values()
        for sentence in re.split(r"(?<=[.!?])\s+", document.text.strip())
    ]
    spread = Counter(word for _, sentence in sentences for word in set(words(sentence)))
    asked = set(words(query))
    sources = []
    for document, sentence in sentences:
        score = sum(math.log(1 + len(sentences) / spread[word]) for word in asked & set(words(sentence)))
        if score > 0:
            found = {"document_id": document.document_id, "title": document.title}
            sources.append(Source(**found, text=sentence, score=round(score, 4)))
    return sorted(sources, key=lambda source: (-source.score, source.document_id))[:top_k]


def respond(request: ChatRequest) -> ChatResponse:
    conversation = find_conversation(request.conversation_id)
    # A follow-up such as "and in Redis?" is about the question before it.
    before = [message.content for message in conversation.messages if message.role == "user"][-1:]
    sources = retrieve(" ".join([*before, request.query]), request.top_k)
    answer = " ".join(source.text for source in sources) or "I found nothing about that in the documents."
    conversation.messages += [
        Message(role="user", content=request.query),
        Message(role="assistant", content=answer),
    ]
    return ChatResponse(
        query=request.query,
        answer=answer,
        sources=sources,
        conversation_id=conversation.conversation_id,
    )


async def pieces(response: ChatResponse) -> AsyncIterator[dict]:
    """An answer as it comes from a model: a few words at a time, and then all that belongs to it."""
    tokens = re.findall(r"\S+\s*", response.answer)
    for token in tokens:
        await asyncio.sleep(DELAY / len(tokens))
        yield {"delta": token}
    yield response.model_dump(include={"sources", "conversation_id"})


async def events(response: ChatResponse) -> AsyncIterator[str]:
    async for piece in pieces(response):
        yield f"data: {json.dumps(piece)}\n\n"
    # Without a last word, nobody could tell a whole answer from one that broke off.
    yield "data: [DONE]\n\n"


def embed(text: str) -> list[float]:
    """Each word counts in a place that its hash says; the length of the vector is 1."""
    vector = [0.0] * DIMENSIONS
    for word in words(text):
        vector[hashlib.sha256(word.encode()).digest()[0] % DIMENSIONS] += 1.0
    length = math.sqrt(sum(value * value for value in vector)) or 1.0
    return [round(value / length, 6) for value in vector]


# ---- the endpoints

app = FastAPI(title="A small RAG service", version=VERSION)
api = APIRouter(prefix="/api/v1")


@app.exception_handler(RAGException)
async def rag_error(request: Request, error: RAGException) -> JSONResponse:
    content = {
        "error": type(error).__name__,
        "message": error.message,
        "details": error.details,
        "path": request.url.path,
        "timestamp": round(time.time(), 3),
    }
    return JSONResponse(content, status_code=error.status)


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "healthy", "version": VERSION, "environment": os.environ.get("ENVIRONMENT", "development")}


@api.post("/chat", response_model=ChatResponse)
async def chat(request: ChatRequest) -> ChatResponse | StreamingResponse:
    response = respond(request)
    if request.stream:
        return StreamingResponse(events(response), media_type="text/event-stream")
    await asyncio.sleep(DELAY)
    return response


@api.websocket("/ws")
async def chat_socket(socket: WebSocket) -> None:
    """The same questions as JSON texts; each gets its pieces, and {"done": true} behind them."""
    await socket.accept()
    try:
        while True:
            response = respond(ChatRequest.model_validate_json(await socket.receive_text()))
            async for piece in pieces(response):
                await socket.send_json(piece)
            await socket.send_json({"done": True})
    except WebSocketDisconnect:
        return
    except ValueError as error:
        await socket.close(code=1007, reason=f"not a question: {type(error).__name__}")
    except RAGException as error:
        await socket.close(code=1008, reason=error.message[:100])


@api.get("/documents")
async def list_documents() -> list[DocumentInfo]:
    return [
        DocumentInfo(document_id=document.document_id, title=document.title, length=len(document.text))
        for document in documents.values()
    ]


@api.post("/documents/upload", status_code=201)
async def upload_document(file: Annotated[UploadFile, File()], response: Response) -> Document:
    """Keeps a text file under the name of the file. One of the same name is replaced."""
    name = file.filename or "document.txt"
    stem, _, extension = name.rpartition(".")
    if extension.lower() not in ("txt", "md"):
        raise InvalidFileTypeException(f"Not a text file: {name}", filename=name)
    content = await file.read(MAX_UPLOAD + 1)
    if len(content) > MAX_UPLOAD:
        raise FileTooLargeException(f"Larger than {MAX_UPLOAD} bytes: {name}", filename=name)
    document_id = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-") or "document"
    document = keep(document_id, stem, content.decode("utf-8", errors="replace"))
    response.headers["Location"] = f"{api.prefix}/documents/{document_id}"
    return document


@api.get("/documents/{document_id}")
async def get_document(document_id: str) -> Document:
    return find_document(document_id)


@api.put("/documents/{document_id}")
async def update_document(document_id: str, document: DocumentIn) -> Document:
    return keep(document_id, document.title or document_id, document.text)


@api.delete("/documents/{document_id}", status_code=204)
async def delete_document(document_id: str) -> None:
    find_document(document_id)
    del documents[document_id]


@api.get("/conversations/{conversation_id}")
async def get_conversation(conversation_id: str) -> Conversation:
    return find_conversation(conversation_id)


@api.post("/embeddings")
async def embeddings(request: EmbeddingRequest) -> dict:
    texts = [request.input] if isinstance(request.input, str) else request.input
    await asyncio.sleep(DELAY / 5)
    tokens = sum(len(text.split()) for text in texts)
    return {
        "object": "list",
        "model": request.model,
        "data": [{"object": "embedding", "index": index, "embedding": embed(text)} for index, text in enumerate(texts)],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


app.include_router(api)
