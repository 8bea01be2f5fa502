"""Where and with what runs are made, as a session of the database records it."""

from __future__ import annotations

import os
import platform
from importlib import metadata

from triptych import __version__
from triptych.core.graphs.thread_pool import cpu_threads
from triptych.core.system.cpu import cpu_name
from triptych.core.system.memory import total_memory

PACKAGES = ("onnxruntime", "onnxruntime-gpu", "numpy", "tokenizers", "transformers", "pillow")


def versions() -> dict[str, str]:
    """Of Triptych, Python and the packages that decide what a pipeline answers."""
    found = {"triptych": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, str | int]:
    """memory: bytes. threads: those that a graph may use."""
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "architecture": platform.machine(),
        "processor": cpu_name(),
        "cores": os.cpu_count() or 1,
        "threads": cpu_threads(),
        "memory": total_memory(),
    }
