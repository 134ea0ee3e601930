from collections.abc import Generator

import library
from hayhooks import BasePipelineWrapper, streaming_generator


class PipelineWrapper(BasePipelineWrapper):
    """Chunks of plain text."""

    def setup(self) -> None:
        self.pipeline = library.answering()

    def run_api(self, query: str) -> Generator:
        return streaming_generator(self.pipeline, pipeline_run_args=library.inputs(query))
