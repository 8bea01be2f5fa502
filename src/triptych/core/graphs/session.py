"""Sessions of ONNX Runtime: how they are opened, and what they keep in memory."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from triptych.core.graphs.cut import cut_outputs
from triptych.core.graphs.errors import GraphError
from triptych.core.graphs.files import GraphFiles
from triptych.core.graphs.kept_graph import TOO_LARGE, kept_graph
from triptych.core.graphs.mapped_weights import MappedWeights
from triptych.core.graphs.providers import only_cpu, startable
from triptych.core.graphs.thread_pool import ThreadPool, cpu_threads
from triptych.core.stages import Runtime
from triptych.core.system.kept_files import KeptFile

_NO_SPINNING = ("session.intra_op.allow_spinning", "0")
_NO_PACKING = ("session.disable_prepacking", "1")
# Makes signed 8-bit weights unsigned: slower where the processor has instructions for products of
# int8, but without these, sums of signed ones are cut off at 16 bits.
_EXACT_INT8 = ("session.x64quantprecision", "1")
_INT8_INSTRUCTIONS = {"avx512_vnni", "avx_vnni"}
_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"


def open_session(files: GraphFiles, runtime: Runtime, *, without: Collection[str] = ()) -> Any:
    """The onnxruntime session of a graph. Raises GraphError and SessionError.

    without: outputs that are not computed; such a graph is not kept. Where the CPU computes, large
    weights are read through a map of ours, and no page of it stays in memory.
    The form that ONNX Runtime gives a large graph is kept, if only the CPU computes: other
    providers compile what no file holds.
    """
    mapped = _mapped(files, runtime)
    if mapped is None:
        return _Opening(files, runtime).session(without)
    with mapped.read_once():
        return _Opening(files, runtime, mapped).session(without)


def check_session(files: GraphFiles, runtime: Runtime) -> None:
    """See that a graph can be opened, without what takes time and memory.

    Nearly all that opening takes is to put weights in the order in which they are computed with.
    Raises GraphError and SessionError.
    """
    kept = _kept(files, runtime)
    if kept is None or not kept.read():
        opening = _Opening(files, runtime)
        opening.options.add_session_config_entry(*_NO_PACKING)
        opening.session()


def import_runtime() -> None:
    """Import ONNX Runtime, which the first session would otherwise wait for."""
    import onnxruntime  # noqa: F401


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


class _Opening:
    """The opening of one graph, from its file or from what was kept of it."""

    def __init__(
        self, files: GraphFiles, runtime: Runtime, mapped: MappedWeights | None = None
    ) -> None:
        """Raises SessionError."""
        self.options = session_options(runtime)
        self._files = files
        self._runtime = runtime
        self._providers = startable(runtime.providers)
        self._given = [] if mapped is None else _give(self.options, mapped)

    def session(self, without: Collection[str] = ()) -> Any:
        """The session. Raises GraphError."""
        path = self._files.graph
        try:
            if without:
                return self._of_content(cut_outputs(path.read_bytes(), without))
            kept = _kept(self._files, self._runtime)
            content = TOO_LARGE if kept is None else kept.read()
            if kept is None or content == TOO_LARGE:
                return self._of(str(path))
            session = None if content is None else self._of_kept(kept, content)
            return self._of_file(kept) if session is None else session
        except Exception as cause:  # onnxruntime's own exceptions share no base class
            raise GraphError(f"{path}: ONNX Runtime cannot load it: {cause}") from cause

    def _of_kept(self, kept: KeptFile, content: bytes) -> Any:
        """The session of what was kept; None, and it is kept no longer, if it cannot be opened."""
        import onnxruntime

        level = self.options.graph_optimization_level
        self.options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            return self._of_content(content)
        except Exception:  # noqa: BLE001 - whatever is wrong with it, the graph may be sound
            self.options.graph_optimization_level = level
            kept.discard()
            return None

    def _of_file(self, kept: KeptFile) -> Any:
        """The session of the graph's own file, whose optimised form is kept from now on."""
        path = str(self._files.graph)
        with kept.writing() as target:
            if target is not None:
                self.options.optimized_model_filepath = str(target)
                # Weights that were converted may be more than one file can hold.
                with suppress(Exception):
                    return self._of(path)
                self.options.optimized_model_filepath = ""
                with suppress(OSError):
                    target.write_bytes(TOO_LARGE)
            return self._of(path)

    def _of_content(self, content: bytes) -> Any:
        self.options.add_session_config_entry(_WEIGHTS_FOLDER, str(self._files.folder.absolute()))
        return self._of(content)

    def _of(self, model: str | bytes) -> Any:
        import onnxruntime

        # Without the fallback, which prints and then runs on another provider than asked for.
        session = onnxruntime.InferenceSession(
            model, sess_options=self.options, providers=self._providers, enable_fallback=0
        )
        if self._providers[0] not in session.get_providers():
            raise RuntimeError(
                f"{self._providers[0]} could not be started: the installed package needs other "
                "versions of its libraries, or a driver"
            )
        session.weights_given = self._given  # It reads them as long as it lives.
        # Kept for a fallback that is off; of what was kept of a graph these are megabytes.
        session._model_bytes = None  # noqa: SLF001
        return session


def _give(options: Any, mapped: MappedWeights) -> list[Any]:
    """Let a session read its weights from a map; what has to live as long as the session."""
    import onnxruntime

    given = []
    for name, view in mapped.views.items():
        value = onnxruntime.OrtValue.ortvalue_from_numpy(view)
        options.add_initializer(name, value)
        given.append(value)
    return given


def _mapped(files: GraphFiles, runtime: Runtime) -> MappedWeights | None:
    """A map of a large graph's weights; None where ONNX Runtime had better read them itself.

    Raises SessionError.
    """
    if not only_cpu(runtime.providers) or not files.is_large():
        return None
    try:
        return MappedWeights(files.folder, files.tensors)
    except (OSError, ValueError):  # ONNX Runtime tells what is wrong with the file.
        return None


def _kept(files: GraphFiles, runtime: Runtime) -> KeptFile | None:
    """The place of the graph's optimised form; None where it has none. Raises SessionError."""
    import onnxruntime

    if not runtime.graph_cache or not only_cpu(runtime.providers):
        return None
    return kept_graph(files, f"onnxruntime {onnxruntime.__version__} {_processor()}")


@cache
def _processor() -> str:
    """What the machine's cores can do; optimised graphs may depend on it."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
            return next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        import platform

        return f"{platform.machine()} {platform.processor()}"
