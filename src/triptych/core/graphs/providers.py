"""Execution providers of ONNX Runtime: their names, and which of them can be used here."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from triptych.core.graphs.errors import SessionError

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


def available_providers() -> list[str]:
    """The short (where there is one) names of the providers of the installed ONNX Runtime."""
    import onnxruntime

    short = {full: name for name, full in PROVIDERS.items()}
    return [short.get(name, name) for name in onnxruntime.get_available_providers()]


def full_names(names: Sequence[str]) -> list[str]:
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


def only_cpu(names: Sequence[str]) -> bool:
    """Whether the CPU alone computes: other providers want weights in the memory of a device.

    Raises SessionError.
    """
    return full_names(names) == [PROVIDERS["cpu"]]


def startable(names: Sequence[str]) -> list[str]:
    """ONNX Runtime's names of providers, with CUDA's libraries found. Raises SessionError."""
    providers = full_names(names)
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
