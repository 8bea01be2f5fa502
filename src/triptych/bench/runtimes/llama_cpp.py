"""llama.cpp by its Python bindings' own C calls, on a GGUF file."""

from __future__ import annotations

import ctypes
import time
from pathlib import Path
from typing import Any

from .pictures import noise

PAD = 256
"""Cells that a cache is rounded up to."""


class Runtime:
    """See `interface.Runtime`.

    Flash attention is what llama.cpp makes of `auto`. Pictures need a projector, ``mmproj*.gguf``,
    beside the model.
    """

    def __init__(self) -> None:
        self._model: Any = None
        self._context: Any = None
        self._vision: Any = None
        self._path = Path()
        self._threads = 0
        self._tokens: list[list[int]] = []
        self._first: list[int] = []
        self._vocabulary = 0

    def start(self) -> dict[str, Any]:
        """See `interface.Runtime`."""
        import llama_cpp
        import numpy  # noqa: F401, ICN001

        return {"name": "llama.cpp", "version": f"llama-cpp-python {llama_cpp.__version__}"}

    def open(self, path: str, *, threads: int) -> dict[str, Any]:
        """See `interface.Runtime`."""
        import llama_cpp

        self._path, self._threads = Path(path), threads
        _silence()
        begin = time.perf_counter()
        llama_cpp.llama_backend_init()
        model = llama_cpp.llama_model_load_from_file(
            path.encode(), llama_cpp.llama_model_default_params()
        )
        if model is None:
            raise ValueError(f"{path}: llama.cpp cannot load it")
        self._model = model
        seconds = time.perf_counter() - begin
        self._vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
        return {
            "seconds": seconds,
            "max_context": llama_cpp.llama_model_n_ctx_train(model),
            "vocabulary": self._vocabulary,
        }

    def prefill(self, tokens: list[list[int]], *, new: int) -> dict[str, Any]:
        """See `interface.Runtime`."""
        length = len(tokens[0])
        self._make_context(len(tokens), length + 1 + new)
        self._tokens = tokens
        begin = time.perf_counter()
        self._first = self._forward(
            [
                (token, place, sequence, place == length - 1)
                for sequence, prompt in enumerate(tokens)
                for place, token in enumerate(prompt)
            ]
        )
        return {"seconds": time.perf_counter() - begin}

    def decode(self, count: int) -> dict[str, Any]:
        """See `interface.Runtime`."""
        import llama_cpp

        length = len(self._tokens[0])
        memory = llama_cpp.llama_get_memory(self._context)
        for sequence in range(len(self._tokens)):
            llama_cpp.llama_memory_seq_rm(memory, sequence, length, -1)
        tokens = self._first
        begin = time.perf_counter()
        for place in range(length, length + count):
            tokens = self._forward(
                [(token, place, sequence, True) for sequence, token in enumerate(tokens)]
            )
        return {"seconds": time.perf_counter() - begin}

    def vision(self, *, width: int, height: int, seed: int) -> dict[str, Any]:
        """See `interface.Runtime`."""
        from llama_cpp import mtmd_cpp as mtmd

        if self._vision is None:
            projectors = sorted(self._path.parent.glob("mmproj*.gguf"))
            if not projectors:
                return {"unable": "there is no mmproj*.gguf beside the model"}
            settings = mtmd.mtmd_context_params_default()
            settings.use_gpu, settings.n_threads, settings.print_timings = (
                False,
                self._threads,
                False,
            )
            self._vision = mtmd.mtmd_init_from_file(
                str(projectors[0]).encode(), self._model, settings
            )
        pixels = noise(width, height, seed)
        data = pixels.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
        text = mtmd.mtmd_input_text()
        text.text = marker = mtmd.mtmd_default_marker()
        text.text_len, text.parse_special = len(marker), True
        chunks = mtmd.mtmd_input_chunks_init()
        begin = time.perf_counter()
        bitmap = mtmd.mtmd_bitmap_init(width, height, data)
        bitmaps = (mtmd.mtmd_bitmap_p_ctypes * 1)(bitmap)
        if mtmd.mtmd_tokenize(self._vision, chunks, ctypes.byref(text), bitmaps, 1):
            raise ValueError("llama.cpp cannot read the picture")
        for index in range(mtmd.mtmd_input_chunks_size(chunks)):
            chunk = mtmd.mtmd_input_chunks_get(chunks, index)
            if mtmd.mtmd_input_chunk_get_type(chunk) == mtmd.MTMD_INPUT_CHUNK_TYPE_IMAGE:
                mtmd.mtmd_encode_chunk(self._vision, chunk)
        seconds = time.perf_counter() - begin
        mtmd.mtmd_bitmap_free(bitmap)
        mtmd.mtmd_input_chunks_free(chunks)
        return {"seconds": seconds}

    def _make_context(self, sequences: int, length: int) -> None:
        """An empty context with room for so many tokens in each of the sequences."""
        import llama_cpp

        if self._context is not None:
            llama_cpp.llama_free(self._context)
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx = sequences * -(-length // PAD) * PAD
        settings.n_batch = settings.n_ctx
        settings.n_seq_max = sequences
        settings.n_threads = settings.n_threads_batch = self._threads
        settings.no_perf = True
        self._context = llama_cpp.llama_init_from_model(self._model, settings)
        if self._context is None:
            raise ValueError(f"llama.cpp makes no context of {settings.n_ctx} tokens")

    def _forward(self, rows: list[tuple[int, int, int, bool]]) -> list[int]:
        """Forward rows of (token, place, sequence, wanted); the token after each wanted one."""
        import llama_cpp
        import numpy as np

        batch = llama_cpp.llama_batch_init(len(rows), 0, 1)
        batch.n_tokens = len(rows)
        for row, (token, place, sequence, wanted) in enumerate(rows):
            batch.token[row], batch.pos[row] = token, place
            batch.n_seq_id[row], batch.seq_id[row][0] = 1, sequence
            batch.logits[row] = wanted
        failed = llama_cpp.llama_decode(self._context, batch)
        llama_cpp.llama_batch_free(batch)
        if failed:
            raise ValueError(f"llama.cpp failed to decode, with code {failed}")
        chosen = []
        for row in (row for row, (*_, wanted) in enumerate(rows) if wanted):
            logits = llama_cpp.llama_get_logits_ith(self._context, row)
            chosen.append(int(np.ctypeslib.as_array(logits, (self._vocabulary,)).argmax()))
        return chosen


def _silence() -> None:
    """llama.cpp says what it loads, line by line."""
    import llama_cpp

    nothing = llama_cpp.llama_log_callback(lambda *_: None)
    _KEPT.append(nothing)
    llama_cpp.llama_log_set(nothing, ctypes.c_void_p(0))


_KEPT: list[Any] = []
"""Callbacks that C code holds."""
