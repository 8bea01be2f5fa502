"""What can go wrong between a graph and ONNX Runtime."""

from __future__ import annotations

from triptych.core.errors import TriptychError


class GraphError(TriptychError):
    """A graph that ONNX Runtime refuses to load or to run."""

    exit_code = 1


class SessionError(TriptychError):
    """A setting of the session that this process cannot follow."""
