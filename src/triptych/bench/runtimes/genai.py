"""ONNX Runtime GenAI, on a folder that its model builder wrote. It has no vision of Qwen3-VL's."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any


class Runtime:
    """See `interface.Runtime`."""

    def __init__(self) -> None:
        self._model: Any = None
        self._generator: Any = None
        self._tokens: list[list[int]] = []
        self._first: list[int] = []
        self._new = 0

    def start(self) -> dict[str, Any]:
        """See `interface.Runtime`."""
        import numpy  # noqa: F401, ICN001
        import onnxruntime_genai

        return {"name": "onnxruntime-genai", "version": onnxruntime_genai.__version__}

    def open(self, path: str, *, threads: int) -> dict[str, Any]:
        """See `interface.Runtime`."""
        import onnxruntime_genai

        begin = time.perf_counter()
        config = onnxruntime_genai.Config(path)
        session = {"session_options": {"intra_op_num_threads": threads}}
        config.overlay(json.dumps({"model": {"decoder": session}}))
        self._model = onnxruntime_genai.Model(config)
        seconds = time.perf_counter() - begin
        said = json.loads((Path(path) / "genai_config.json").read_text(encoding="utf-8"))["model"]
        return {
            "seconds": seconds,
            "max_context": said["context_length"],
            "vocabulary": said["vocab_size"],
        }

    def prefill(self, tokens: list[list[int]], *, new: int) -> dict[str, Any]:
        """See `interface.Runtime`."""
        self._tokens, self._new = tokens, new
        return {"seconds": self._prompt()}

    def decode(self, count: int) -> dict[str, Any]:
        """Of several sequences, which cannot be rewound, the prompts are run again before."""
        import numpy as np

        again = len(self._tokens) == 1
        if again:
            self._generator.rewind_to(len(self._tokens[0]))
        else:
            self._prompt()
        begin = time.perf_counter()
        if again:
            self._generator.append_tokens(np.array([self._first], np.int32))
        for _ in range(count):
            self._generator.generate_next_token()
        return {"seconds": time.perf_counter() - begin}

    def vision(self, *, width: int, height: int, seed: int) -> dict[str, Any]:  # noqa: ARG002
        """See `interface.Runtime`."""
        return {"unable": "it is measured on text models only"}

    def _prompt(self) -> float:
        """Forward the prompts and choose their first tokens; the seconds it took."""
        import numpy as np
        import onnxruntime_genai

        self._generator = None
        length = len(self._tokens[0]) + 1 + self._new
        parameters = onnxruntime_genai.GeneratorParams(self._model)
        # As short as its longest, a reply has no token that ends it.
        parameters.set_search_options(
            do_sample=False, batch_size=len(self._tokens), max_length=length, min_length=length
        )
        self._generator = onnxruntime_genai.Generator(self._model, parameters)
        prompts = np.array(self._tokens, np.int32)
        begin = time.perf_counter()
        self._generator.append_tokens(prompts)
        self._generator.generate_next_token()
        seconds = time.perf_counter() - begin
        self._first = [int(token) for token in self._generator.get_next_tokens()]
        return seconds
