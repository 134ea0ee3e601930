from collections.abc import Generator

import library
from hayhooks import BasePipelineWrapper, get_last_user_message, streaming_generator


class PipelineWrapper(BasePipelineWrapper):
    def setup(self) -> None:
        self.pipeline = library.answering()

    def run_api(self, query: str) -> dict:
        result = self.pipeline.run(library.inputs(query), include_outputs_from={"retriever"})
        found = [{"id": document.id, "content": document.content} for document in result["retriever"]["documents"]]
        return {"answer": result["model"]["replies"][0].text, "documents": found}

    def run_chat_completion(self, model: str, messages: list[dict], body: dict) -> str | Generator:
        query = get_last_user_message(messages)
        if body.get("stream"):
            return streaming_generator(self.pipeline, pipeline_run_args=library.inputs(query))
        return self.pipeline.run(library.inputs(query))["model"]["replies"][0].text
