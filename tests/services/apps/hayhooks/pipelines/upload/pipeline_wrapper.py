import library
from fastapi import UploadFile
from hayhooks import BasePipelineWrapper


class PipelineWrapper(BasePipelineWrapper):
    """Keeps files."""

    def setup(self) -> None:
        pass

    def run_api(self, files: list[UploadFile]) -> int:
        for file in files:
            library.keep(file.filename, file.file.read().decode())
        return library.documents.count_documents()
