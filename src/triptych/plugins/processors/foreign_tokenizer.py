"""Tokenizers of older folders, through transformers, which is imported on first use."""

from __future__ import annotations

from tokenizers import Tokenizer

from triptych.plugins.processors.folder import ModelFolder, ProcessorError
from triptych.plugins.processors.text import TOKENIZER, TextCodec

VOCABULARIES = ("vocab.json", "vocab.txt", "tokenizer.model", "spiece.model", "tekken.json")
"""Files of tokenizers that are older than, or other than, ``tokenizer.json``."""


def foreign_codec(folder: ModelFolder) -> TextCodec:
    """The tokenizer that transformers builds from vocabulary files.

    The import takes seconds. Raises ProcessorError when there is no tokenizer, or a broken one.
    """
    if not any((folder.path / name).is_file() for name in VOCABULARIES):
        raise ProcessorError(
            f"{folder.path} holds no tokenizer: no {TOKENIZER}, nor any of "
            f"{', '.join(VOCABULARIES)}"
        )
    from transformers import AutoTokenizer

    try:
        loaded = AutoTokenizer.from_pretrained(
            folder.path, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        raise ProcessorError(f"the tokenizer in {folder.path} cannot be read: {error}") from error
    backend = getattr(loaded, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise ProcessorError(
            f"the tokenizer in {folder.path} runs in Python only; save it as {TOKENIZER} with "
            "the model's own tools (PreTrainedTokenizerFast.save_pretrained)"
        )
    return TextCodec(backend)
