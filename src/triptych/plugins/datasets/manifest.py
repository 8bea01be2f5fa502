"""What this plugin offers; nothing here is imported before its first use."""

from __future__ import annotations

from triptych.core.components.component import Component
from triptych.core.components.hookspecs import hookimpl

_HERE = "triptych.plugins.datasets"


@hookimpl
def datasets() -> list[Component]:
    return [
        Component(
            "jsonl",
            f"{_HERE}.jsonl:JSONLines",
            "A file with a question and its reference in each line.",
            main="file",
        ),
        Component(
            "image_folder",
            f"{_HERE}.image_folder:ImageFolder",
            "A folder of pictures, each with a caption beside it or in a table.",
            main="folder",
        ),
        Component(
            "hf_dataset",
            f"{_HERE}.hf_dataset:HFDataset",
            "A data set that Hugging Face's `datasets` has saved on disk.",
            main="folder",
        ),
    ]
