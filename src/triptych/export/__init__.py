"""A checkpoint becomes three graphs and a pipeline file, and is compared with them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from triptych.core.errors import TriptychError

if TYPE_CHECKING:
    from triptych.export.run import export_checkpoint
    from triptych.export.verification.result import Verification
    from triptych.export.verify import verify_export

__all__ = ["MissingExtra", "Verification", "export_checkpoint", "verify_export"]

# Imported on first use: the manifests in this package are read where no extra is installed.
_HOMES = {
    "export_checkpoint": "run",
    "verify_export": "verify",
    "Verification": "verification.result",
}


class MissingExtra(TriptychError):
    """A package that only exporting needs is not installed."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        home = import_module(f"{__name__}.{_HOMES[name]}")
    except ModuleNotFoundError as missing:
        raise MissingExtra(
            f"Exporting needs {missing.name}, which is not installed: "
            f"pip install 'triptych[export]'."
        ) from missing
    return getattr(home, name)
