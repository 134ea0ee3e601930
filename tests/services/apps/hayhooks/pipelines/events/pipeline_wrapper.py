from collections.abc import Generator

import library
from hayhooks import BasePipelineWrapper, SSEStream, streaming_generator


class PipelineWrapper(BasePipelineWrapper):
    """Server-sent events."""

    def setup(self) -> None:
        self.pipeline = library.answering()

    # It returns an SSEStream. Hayhooks 2.1.0 wants a type here, and cannot take that one.
    def run_api(self, query: str) -> Generator:
        return SSEStream(streaming_generator(self.pipeline, pipeline_run_args=library.inputs(query)))
