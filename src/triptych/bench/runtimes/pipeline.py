"""A Triptych pipeline, called as people call it from Python."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from .pictures import noise

FEATURES = "image_features"
"""The port that holds what an encoder made of a picture."""


class Runtime:
    """See `interface.Runtime`."""

    def __init__(self) -> None:
        self._pipeline: Any = None
        self._sequences: list[Any] = []
        self._tokens: list[list[int]] = []

    def start(self) -> dict[str, Any]:
        """Import the core, and what it imports only while it loads."""
        import numpy  # noqa: F401, ICN001
        import onnxruntime

        import triptych
        from triptych.core import pipeline  # noqa: F401

        name = f"triptych (onnxruntime {onnxruntime.__version__})"
        return {"name": name, "version": triptych.__version__}

    def open(
        self,
        path: str,
        *,
        threads: int,
        changes: dict[str, Any] | None = None,
        profile: str | None = None,
    ) -> dict[str, Any]:
        """changes: keywords of `triptych.load`. profile: where ONNX Runtime writes its events."""
        if profile is not None:
            from .profiling import record

            record(profile)
        from triptych.core.components.catalog import Catalog
        from triptych.core.config.edits import parse_set
        from triptych.core.config.load import load_spec
        from triptych.core.pipeline import Pipeline

        changes = changes or {}
        begin = time.perf_counter()
        spec = load_spec(
            path,
            catalog=Catalog([Path(plugin) for plugin in changes.get("plugin") or ()]),
            overrides=[
                *map(parse_set, changes.get("set") or ()),
                parse_set(f"session.threads={threads}"),
            ],
            insert=changes.get("insert") or (),
            replace=changes.get("replace") or (),
            remove=changes.get("remove") or (),
            allow_outside=bool(changes.get("allow_outside")),
        )
        self._pipeline = Pipeline(spec, begin=begin)
        seconds = time.perf_counter() - begin
        # A token that ends replies is a token like others here.
        self._pipeline.processor = _Endless(self._pipeline.processor)
        logits = self._pipeline.run_until("logits", "a")
        return {
            "seconds": seconds,
            "max_context": self._pipeline.sequence().max_length,
            "vocabulary": int(logits.shape[-1]),
        }

    def prefill(self, tokens: list[list[int]], *, new: int) -> dict[str, Any]:  # noqa: ARG002
        """See `interface.Runtime`."""
        self._pipeline.discard(self._sequences)
        self._sequences = [self._pipeline.sequence() for _ in tokens]
        begin = time.perf_counter()
        replies = self._run(tokens, 1)
        seconds = time.perf_counter() - begin
        self._tokens = [[*prompt, *reply] for prompt, reply in zip(tokens, replies, strict=True)]
        return {"seconds": seconds}

    def decode(self, count: int) -> dict[str, Any]:
        """The difference of two runs, one of a single token.

        Each sequence is cut back to its prompt, as a chat cuts back to what a turn shares. Over
        some caches a few of the prompt's last tokens are then forwarded again, in both runs.
        """
        before = self.again(1)["seconds"]
        said = self.again(count + 1)
        return said | {"seconds": said["seconds"] - before} if "seconds" in said else said

    def again(self, count: int) -> dict[str, Any]:
        """Generate `count` tokens after the one that `prefill` chose. Gives `seconds`."""
        begin = time.perf_counter()
        replies = self._run(self._tokens, count)
        seconds = time.perf_counter() - begin
        if any(len(reply) != count for reply in replies):
            return {"unable": f"a strategy or a rule ended a reply before {count} tokens"}
        return {"seconds": seconds}

    def vision(self, *, width: int, height: int, seed: int) -> dict[str, Any]:
        """See `interface.Runtime`."""
        from PIL import Image

        from triptych.core.errors import InputError
        from triptych.core.request import Request

        request = Request("a", images=[Image.fromarray(noise(width, height, seed))])
        begin = time.perf_counter()
        try:
            self._pipeline.run_until(FEATURES, request)
        except InputError as error:
            return {"unable": str(error)}
        return {"seconds": time.perf_counter() - begin}

    def mark(self) -> dict[str, Any]:
        """How many runs each graph has had since it was loaded, where they are recorded."""
        from .profiling import counted

        return {"runs": counted()}

    def profiles(self) -> dict[str, Any]:
        """Write the events of all graphs; gives the `files`, in the order of `mark`'s runs."""
        from .profiling import finish

        return {"files": finish()}

    def _run(self, prompts: list[list[int]], count: int) -> list[tuple[int, ...]]:
        import numpy as np

        from triptych.core.prompt import Prompt

        settings = {"no_sample": True, "max_new_tokens": count, "stop": []}
        streams = [
            self._pipeline.begin(Prompt(np.array(prompt, np.int64)), settings, sequence=sequence)
            for prompt, sequence in zip(prompts, self._sequences, strict=True)
        ]
        return [stream.reply.tokens for stream in streams]


class _Endless:
    """A processor for which no token ends a reply."""

    eos_ids: frozenset[int] = frozenset()

    def __init__(self, processor: Any) -> None:
        self._processor = processor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._processor, name)
