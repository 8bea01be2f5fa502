"""Running an ONNX graph: the one file that knows onnxruntime."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from weakref import ref

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


class GraphError(TriptychError):
    """A graph that ONNX Runtime refuses to load or to run, or a provider that it lacks."""

    exit_code = 1


class Graph:
    """One ONNX file: its ports at once, its weights after `load`."""

    def __init__(self, path: Path) -> None:
        """Read the declared ports of `path`. Raises GraphFileError."""
        header = read_header(path)
        self.path = path
        self.inputs: tuple[Port, ...] = header.inputs
        self.outputs: tuple[Port, ...] = header.outputs
        self._session: Any = None
        self._device = "cpu"
        self._bindings: dict[int, tuple[ref[Array], Any]] = {}

    def load(self, runtime: Runtime) -> None:
        """Make the session. Raises GraphError."""
        import onnxruntime

        options = _session_options(runtime)
        providers = _providers(runtime.providers)
        try:
            self._session = onnxruntime.InferenceSession(
                str(self.path), sess_options=options, providers=providers
            )
        except Exception as cause:  # onnxruntime's own exceptions share no base class
            raise GraphError(f"{self.path}: ONNX Runtime cannot load it: {cause}") from cause
        self._device = _DEVICES.get(self._session.get_providers()[0], "cpu")

    def run(self, feeds: Mapping[str, Array], outputs: Iterable[str]) -> dict[str, Array]:
        """Run on `feeds`, one array per input; returns the named outputs."""
        names = list(outputs)
        try:
            values = self._session.run(names, dict(feeds))
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
        binding = self._bound(feeds, presents)
        for name, value in feeds.items():
            if name not in presents:
                binding.bind_cpu_input(name, np.ascontiguousarray(value))
        names = list(outputs)
        for name in names:
            binding.bind_output(name, "cpu")
        try:
            self._session.run_with_iobinding(binding)
        except Exception as cause:
            raise self._failure(feeds, cause) from cause
        # get_outputs follows the order in which names were first bound: the presents first.
        values = binding.get_outputs()[len(presents) :]
        return {name: value.numpy() for name, value in zip(names, values, strict=True)}

    def _bound(self, feeds: Mapping[str, Array], presents: Mapping[str, str]) -> Any:
        import onnxruntime

        first = feeds[next(iter(presents))]
        known = self._bindings.get(id(first))
        if known is not None and known[0]() is first:
            return known[1]
        binding = self._session.io_binding()
        for past, present in presents.items():
            buffer = onnxruntime.OrtValue.ortvalue_from_numpy(feeds[past], self._device)
            binding.bind_ortvalue_input(past, buffer)
            binding.bind_ortvalue_output(present, buffer)
        key = id(first)
        self._bindings[key] = (ref(first, lambda _: self._bindings.pop(key, None)), binding)
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


def _providers(names: Iterable[str]) -> list[str]:
    import onnxruntime

    installed = onnxruntime.get_available_providers()
    full = [PROVIDERS.get(name, name) for name in names]
    for name, wanted in zip(names, full, strict=True):
        if wanted not in installed:
            raise GraphError(
                f"session.providers: ONNX Runtime has no provider {name!r} here; "
                f"it has: {', '.join(available_providers())}"
            )
    return full


class _Threads:
    """One pool for all sessions of the process.

    Each session's own pool spins after a run and takes the cores from the next one: three
    sessions called in turn on two cores take 1.6 to 3 times as long. ONNX Runtime makes its
    global pool once a process. Where somebody else has made one, ours run on theirs; a
    pipeline that asks for another number of threads gets pools of its own that do not spin.
    """

    size: int | None = None

    @classmethod
    def shared(cls, threads: int) -> bool:
        """Whether a session with so many threads may use the pool; makes it on the first call."""
        import onnxruntime

        if cls.size is None:
            try:
                onnxruntime.set_global_thread_pool_sizes(threads, 1)
                cls.size = threads
            except Exception:  # noqa: BLE001 - no class of its own: somebody else's pool, of a size that cannot be asked for
                cls.size = 0
        return cls.size in (0, threads)


def _session_options(runtime: Runtime) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    threads = runtime.threads or cpu_threads()
    if _Threads.shared(threads):
        options.use_per_session_threads = False
    else:
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def cpu_threads() -> int:
    """How many threads `threads: auto` means: the cores this process may use, at most 16."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(available or 1, 16))
