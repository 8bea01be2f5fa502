"""OpenVINO GenAI, on a folder that optimum-cli wrote: a text model, or one with pictures."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from .pictures import noise

VISION_GRAPH = "openvino_vision_embeddings_model.xml"
"""The file that only models with pictures have."""


class Runtime:
    """See `interface.Runtime`."""

    def __init__(self) -> None:
        self._pipeline: Any = None
        self._tokens: list[list[int]] = []
        self._pictures = False

    def start(self) -> dict[str, Any]:
        """See `interface.Runtime`."""
        import numpy  # noqa: F401, ICN001
        import openvino_genai

        return {"name": "openvino-genai", "version": openvino_genai.__version__}

    def open(self, path: str, *, threads: int) -> dict[str, Any]:
        """See `interface.Runtime`."""
        import openvino_genai

        self._pictures = (Path(path) / VISION_GRAPH).exists()
        kind = openvino_genai.VLMPipeline if self._pictures else openvino_genai.LLMPipeline
        begin = time.perf_counter()
        self._pipeline = kind(path, "CPU", INFERENCE_NUM_THREADS=threads)
        return {"seconds": time.perf_counter() - begin}

    def prefill(self, tokens: list[list[int]], *, new: int) -> dict[str, Any]:  # noqa: ARG002
        """See `interface.Runtime`."""
        if self._pictures:
            return {"unable": "a model with pictures takes no token ids; give a text model"}
        self._tokens = tokens
        begin = time.perf_counter()
        self._generate(1, None)
        return {"seconds": time.perf_counter() - begin}

    def decode(self, count: int) -> dict[str, Any]:
        """The prompts are run again, and the time after the first token counts."""
        if len(self._tokens) == 1:
            begin: list[float] = []

            def note(_: Any) -> bool:
                begin.append(time.perf_counter())
                return False

            self._generate(count + 1, note)
            return {"seconds": begin[count] - begin[0]}
        # It tells of no single token of several sequences, but of the first of all.
        begun = time.perf_counter()
        said = self._generate(count + 1, None)
        whole = time.perf_counter() - begun
        return {"seconds": whole - said.perf_metrics.get_ttft().mean / 1000}

    def vision(self, *, width: int, height: int, seed: int) -> dict[str, Any]:
        """Whatever comes before the language model, as its own clock has it."""
        import openvino
        import openvino_genai

        if not self._pictures:
            return {"unable": "the folder has no image encoder"}
        settings = openvino_genai.GenerationConfig()
        settings.max_new_tokens, settings.ignore_eos = 1, True
        picture = openvino.Tensor(noise(width, height, seed)[None])
        said = self._pipeline.generate("a", images=[picture], generation_config=settings)
        return {"seconds": said.perf_metrics.get_prepare_embeddings_duration().mean / 1000}

    def _generate(self, count: int, streamer: Any) -> Any:
        import numpy as np
        import openvino
        import openvino_genai

        settings = openvino_genai.GenerationConfig()
        settings.max_new_tokens, settings.ignore_eos = count, True
        settings.apply_chat_template = False
        ids = np.array(self._tokens, np.int64)
        inputs = openvino_genai.TokenizedInputs(
            openvino.Tensor(ids), openvino.Tensor(np.ones_like(ids))
        )
        if streamer is None:
            return self._pipeline.generate(inputs, settings)
        return self._pipeline.generate(inputs, settings, _streamer(openvino_genai, streamer))


def _streamer(genai: Any, note: Any) -> Any:
    """An object that calls `note` with every token as it comes, without making text of it."""

    class Streamer(genai.StreamerBase):  # type: ignore[misc]
        def write(self, token: Any) -> Any:
            for _ in token if isinstance(token, list) else [token]:
                note(token)
            return genai.StreamingStatus.RUNNING

        def end(self) -> None:
            pass

    return Streamer()
