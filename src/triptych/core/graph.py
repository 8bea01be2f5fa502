"""Running an ONNX graph: the one file that knows onnxruntime."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from triptych.core.errors import TriptychError
from triptych.core.graph_header import read_header
from triptych.core.ports import Array, Port
from triptych.core.stages import Runtime

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "rocm": "ROCMExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}
"""Short names of ONNX Runtime's execution providers; full names are taken as well."""

_DEVICES = {"CUDAExecutionProvider": "cuda", "TensorrtExecutionProvider": "cuda"}
"""Where a provider keeps tensors, if not in the memory of the CPU."""


_MOST_BINDINGS = 64
"""Bindings that a graph keeps: as many slots' buffers. The least recently used one goes."""


class GraphError(TriptychError):
    """A graph that ONNX Runtime refuses to load or to run."""

    exit_code = 1


class SessionError(TriptychError):
    """A setting of the session that this process cannot follow."""


class Graph:
    """One ONNX file: its ports at once, its weights after `load`."""

    def __init__(self, path: Path) -> None:
        """Read the declared ports of `path`. Raises GraphFileError."""
        header = read_header(path)
        self.path = path
        self.inputs: tuple[Port, ...] = header.inputs
        self.outputs: tuple[Port, ...] = header.outputs
        self.session: Any = None
        """The onnxruntime session, once it is loaded."""
        self.device = "cpu"
        self._bindings: OrderedDict[int, tuple[Array, Any]] = OrderedDict()

    def load(self, runtime: Runtime) -> None:
        """Make the session. Raises GraphError and SessionError."""
        import onnxruntime

        options = session_options(runtime)
        providers = _providers(runtime.providers)
        try:
            # Without the fallback, which prints and then runs on another provider than asked for.
            self.session = onnxruntime.InferenceSession(
                str(self.path), sess_options=options, providers=providers, enable_fallback=0
            )
        except Exception as cause:  # onnxruntime's own exceptions share no base class
            raise GraphError(f"{self.path}: ONNX Runtime cannot load it: {cause}") from cause
        self.device = _DEVICES.get(self.session.get_providers()[0], "cpu")

    def run(self, feeds: Mapping[str, Array], outputs: Iterable[str]) -> dict[str, Array]:
        """Run on `feeds`, one array per input; returns the named outputs."""
        names = list(outputs)
        try:
            values = self.session.run(names, dict(feeds))
        except Exception as cause:
            raise self._failure(feeds, cause) from cause
        return dict(zip(names, values, strict=True))

    def run_in_place(
        self, feeds: Mapping[str, Array], presents: Mapping[str, str], outputs: Iterable[str]
    ) -> dict[str, Array]:
        """Run with each past buffer bound as its present, too, so that nothing is copied.

        presents: the output that extends each past input. The buffers of one sequence stay
        the same from run to run; they are bound again only when they are others.
        """
        names = list(outputs)
        try:
            binding = self._bound(feeds, presents)
            for name, value in feeds.items():
                if name not in presents:
                    binding.bind_cpu_input(name, np.ascontiguousarray(value))
            # Bound anew for each run, so that what an earlier one gave stays as it was.
            for name in names:
                binding.bind_output(name, "cpu")
            self.session.run_with_iobinding(binding)
        except Exception as cause:
            raise self._failure(feeds, cause) from cause
        # get_outputs follows the order in which names were first bound: the presents first.
        values = binding.get_outputs()[len(presents) :]
        return {name: value.numpy() for name, value in zip(names, values, strict=True)}

    def _bound(self, feeds: Mapping[str, Array], presents: Mapping[str, str]) -> Any:
        """The binding of these pasts. It holds the buffers, so no other can have their ids."""
        import onnxruntime

        first = feeds[next(iter(presents))]
        known = self._bindings.get(id(first))
        if known is not None:
            self._bindings.move_to_end(id(first))
            return known[1]
        binding = self.session.io_binding()
        for past, present in presents.items():
            buffer = onnxruntime.OrtValue.ortvalue_from_numpy(feeds[past], self.device)
            binding.bind_ortvalue_input(past, buffer)
            binding.bind_ortvalue_output(present, buffer)
        self._bindings[id(first)] = (first, binding)
        # On another device the binding holds the only copy of what was computed.
        if self.device == "cpu" and len(self._bindings) > _MOST_BINDINGS:
            self._bindings.popitem(last=False)
        return binding

    def _failure(self, feeds: Mapping[str, Array], cause: Exception) -> GraphError:
        shapes = ", ".join(
            f"{name} {value.dtype} {list(value.shape)}" for name, value in feeds.items()
        )
        return GraphError(f"{self.path}: ONNX Runtime failed on {shapes}: {cause}")


def available_providers() -> list[str]:
    """The short (where there is one) names of the providers of the installed ONNX Runtime."""
    import onnxruntime

    short = {full: name for name, full in PROVIDERS.items()}
    return [short.get(name, name) for name in onnxruntime.get_available_providers()]


def _providers(names: Sequence[str]) -> list[str]:
    import onnxruntime

    installed = onnxruntime.get_available_providers()
    full = [PROVIDERS.get(name, name) for name in names]
    for name, wanted in zip(names, full, strict=True):
        if wanted not in installed:
            raise SessionError(
                f"session.providers: ONNX Runtime has no provider {name!r} here; "
                f"it has: {', '.join(available_providers())}"
            )
    return full


class _Pool:
    """One pool of threads for all sessions of the process.

    Each session's own pool spins after a run and takes the cores from the next one: three
    sessions called in turn on two cores take 1.6 to 3 times as long. ONNX Runtime makes its
    global pool once a process, never resizes it, and refuses sessions with pools of their own
    from then on. Where somebody else has made one, ours run on theirs, whatever its size.
    """

    size: int | None = None
    """Its threads; None before the first session, 0 for somebody else's pool."""
    lock = threading.Lock()

    @classmethod
    def join(cls, threads: int | None) -> None:
        """Use the pool, and make it if there is none yet; None: as many threads as it has.

        Raises SessionError when it has another number of threads than was asked for.
        """
        import onnxruntime

        with cls.lock:
            if cls.size is None:
                wanted = threads or cpu_threads()
                try:
                    onnxruntime.set_global_thread_pool_sizes(wanted, 1)
                    cls.size = wanted
                except Exception:  # noqa: BLE001 - no class of its own says that there is a pool
                    cls.size = 0
        if threads and cls.size and threads != cls.size:
            raise SessionError(
                f"session.threads: {threads} threads are wanted, but the pipelines of this process "
                f"share a pool of {cls.size}; give all of them the same number, or 'auto'"
            )


def session_options(runtime: Runtime) -> Any:
    """Options of a session that runs on the one pool. Raises GraphError as `_Pool.join` does."""
    import onnxruntime

    _Pool.join(runtime.threads)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.use_per_session_threads = False
    return options


def cpu_threads() -> int:
    """How many threads `threads: auto` means: the cores this process may use, at most 16."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(available or 1, 16))
