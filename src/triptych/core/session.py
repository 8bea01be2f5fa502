"""Opening sessions of ONNX Runtime: providers, pools of threads, what is kept in memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from triptych.core.errors import TriptychError
from triptych.core.graph_cut import cut_outputs
from triptych.core.graph_header import StoredTensor
from triptych.core.graph_store import NOT_KEPT, GraphStore
from triptych.core.mapped_weights import MappedWeights
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

THREADS = "TRIPTYCH_THREADS"
"""The environment variable that says what `threads: auto` means, where processes share cores."""

_LEAST_ON_DEMAND = 64 * 2**20
"""Bytes of weights from which on it pays to open a graph only when it is needed."""

_NO_SPINNING = ("session.intra_op.allow_spinning", "0")
_NO_PACKING = ("session.disable_prepacking", "1")
# Makes signed 8-bit weights unsigned: slower where the processor has instructions for products of
# int8, but without these, sums of signed ones are cut off at 16 bits.
_EXACT_INT8 = ("session.x64quantprecision", "1")
_INT8_INSTRUCTIONS = {"avx512_vnni", "avx_vnni"}
_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"


class GraphError(TriptychError):
    """A graph that ONNX Runtime refuses to load or to run."""

    exit_code = 1


class SessionError(TriptychError):
    """A setting of the session that this process cannot follow."""


def open_session(
    path: Path,
    weights: Iterable[str],
    runtime: Runtime,
    *,
    stored: Iterable[StoredTensor] = (),
    without: Collection[str] = (),
) -> Any:
    """The onnxruntime session of a graph. Raises GraphError and SessionError.

    weights: the names of its data files. stored: what is known to be in them; where the CPU
    computes, it is read through a map of ours, and no page of it stays in memory.
    without: outputs that are not computed; such a graph has no place in the store.
    The form that ONNX Runtime gives a large graph is taken from the store, or put there, if only
    the CPU computes: other providers compile what no file holds.
    """
    mapped = _mapped(path, weights, runtime, stored)
    if mapped is None:
        return _open(path, weights, runtime, packed=True, without=without)
    with mapped.read_once():
        return _open(path, weights, runtime, packed=True, mapped=mapped, without=without)


def check_session(path: Path, weights: Iterable[str], runtime: Runtime) -> None:
    """See that a graph can be opened, without what takes time and memory.

    Nearly all that opening takes is to put weights in the order in which they are computed with.
    Raises GraphError and SessionError.
    """
    providers = _full_names(runtime.providers)
    stored = _stored(path, weights, runtime, providers)
    if stored is None or not stored.content:
        _open(path, weights, runtime, packed=False)


def is_large(path: Path, weights: Iterable[str]) -> bool:
    """Whether opening a graph takes so long, and so much memory, that it should be needed."""
    files = (path, *(path.parent / name for name in weights))
    return sum(file.stat().st_size for file in files if file.exists()) > _LEAST_ON_DEMAND


def import_runtime() -> None:
    """Import ONNX Runtime, which the first session would otherwise wait for."""
    import onnxruntime  # noqa: F401


def available_providers() -> list[str]:
    """The short (where there is one) names of the providers of the installed ONNX Runtime."""
    import onnxruntime

    short = {full: name for name, full in PROVIDERS.items()}
    return [short.get(name, name) for name in onnxruntime.get_available_providers()]


def session_options(runtime: Runtime) -> Any:
    """Options of a session on the one pool, or on threads of its own that do not spin.

    Raises SessionError as `ThreadPool.join` does.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    _spare_memory(options)
    if _INT8_INSTRUCTIONS.isdisjoint(_processor().split()):
        options.add_session_config_entry(*_EXACT_INT8)
    if runtime.pool == "own" and ThreadPool.size is None:
        options.intra_op_num_threads = runtime.threads or cpu_threads()
        options.add_session_config_entry(*_NO_SPINNING)
    else:
        ThreadPool.join(runtime.threads)
        options.use_per_session_threads = False
    return options


def _spare_memory(options: Any) -> None:
    """Let a run hold what it needs at a time, and no more.

    ONNX Runtime would keep a plan of memory for each shape of the inputs, which in decoding is a
    new one at each step, and a second region of memory for each prompt's length; it would keep
    tensors whose place another one takes later; and it would put off nodes that nothing depends on,
    such as what writes the cache, with all that they read. A prompt of 512 tokens then took 155 MiB
    beside the weights of a model of 0.6B, and takes 43; steps were 3 % slower.
    """
    import onnxruntime

    options.enable_mem_pattern = False
    options.enable_mem_reuse = False
    options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED


def cpu_threads() -> int:
    """How many threads `threads: auto` means: the cores this process may use, at most 16.

    The environment variable `THREADS` says another number.
    """
    given = os.environ.get(THREADS, "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(available or 1, 16))


class ThreadPool:
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


def _open(
    path: Path,
    weights: Iterable[str],
    runtime: Runtime,
    *,
    packed: bool,
    mapped: MappedWeights | None = None,
    without: Collection[str] = (),
) -> Any:
    import onnxruntime

    options = session_options(runtime)
    given = [] if mapped is None else _give(options, mapped)
    providers = _startable(runtime.providers)
    if not packed:
        options.add_session_config_entry(*_NO_PACKING)

    def session(model: str | bytes) -> Any:
        # Without the fallback, which prints and then runs on another provider than asked for.
        opened = _on_first(
            onnxruntime.InferenceSession(
                model, sess_options=options, providers=providers, enable_fallback=0
            ),
            providers,
        )
        opened.weights_given = given  # It reads them as long as it lives.
        # Kept for a fallback that is off; of an entry of the store these are megabytes.
        opened._model_bytes = None  # noqa: SLF001
        return opened

    if without:
        try:
            options.add_session_config_entry(_WEIGHTS_FOLDER, str(path.parent.absolute()))
            return session(cut_outputs(path.read_bytes(), without))
        except Exception as cause:
            raise GraphError(f"{path}: ONNX Runtime cannot load it: {cause}") from cause
    stored = _stored(path, weights, runtime, providers)
    if stored is not None and stored.content:
        try:
            level = options.graph_optimization_level
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.add_session_config_entry(_WEIGHTS_FOLDER, str(path.parent.absolute()))
            return session(stored.content)
        except Exception:  # noqa: BLE001 - whatever is wrong with the entry, the graph may be sound
            options.graph_optimization_level = level
            stored.discard()
    try:
        if stored is None or stored.content == NOT_KEPT:
            return session(str(path))
        with stored.writing() as target:
            if target is not None:
                options.optimized_model_filepath = str(target)
                # Weights that were converted may be more than one file can hold.
                with suppress(Exception):
                    return session(str(path))
                options.optimized_model_filepath = ""
                with suppress(OSError):
                    target.write_bytes(NOT_KEPT)
            return session(str(path))
    except Exception as cause:  # onnxruntime's own exceptions share no base class
        raise GraphError(f"{path}: ONNX Runtime cannot load it: {cause}") from cause


def _give(options: Any, mapped: MappedWeights) -> list[Any]:
    """Let a session read its weights from a map; what has to live as long as the session."""
    import onnxruntime

    given = []
    for name, view in mapped.views.items():
        value = onnxruntime.OrtValue.ortvalue_from_numpy(view)
        options.add_initializer(name, value)
        given.append(value)
    return given


def _mapped(
    path: Path, weights: Iterable[str], runtime: Runtime, stored: Iterable[StoredTensor]
) -> MappedWeights | None:
    """A map of a large graph's weights; None where ONNX Runtime had better read them itself.

    That is for other providers, too, which want them in the memory of a device.
    """
    if _full_names(runtime.providers) != [PROVIDERS["cpu"]] or not is_large(path, weights):
        return None
    try:
        return MappedWeights(path.parent, stored)
    except (OSError, ValueError):  # ONNX Runtime tells what is wrong with the file.
        return None


def _stored(path: Path, weights: Iterable[str], runtime: Runtime, providers: Sequence[str]) -> Any:
    """The graph's place in the store; None where it has none."""
    import onnxruntime

    store = GraphStore.usual() if runtime.graph_cache else None
    if store is None or providers != [PROVIDERS["cpu"]]:
        return None
    return store.find(path, weights, f"onnxruntime {onnxruntime.__version__} {_processor()}")


def _on_first(session: Any, providers: Sequence[str]) -> Any:
    """The session. Raises RuntimeError where its first provider was left out."""
    if providers[0] not in session.get_providers():
        raise RuntimeError(
            f"{providers[0]} could not be started: the installed package needs other versions of "
            "its libraries, or a driver"
        )
    return session


def _startable(names: Sequence[str]) -> list[str]:
    """ONNX Runtime's names of providers, with CUDA's libraries found. Raises SessionError."""
    providers = _full_names(names)
    if PROVIDERS["cuda"] in providers:
        _load_cuda()
    return providers


@cache
def _load_cuda() -> None:
    """Find CUDA and cuDNN where pip has installed them, as torch does."""
    import onnxruntime

    preload = getattr(onnxruntime, "preload_dlls", None)
    if preload is not None:
        preload()


@cache
def _processor() -> str:
    """What the machine's cores can do; optimised graphs may depend on it."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
            return next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        import platform

        return f"{platform.machine()} {platform.processor()}"


def _full_names(names: Sequence[str]) -> list[str]:
    """ONNX Runtime's own names. Raises SessionError for a provider that is not there."""
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
