"""The layouts by name."""

from __future__ import annotations

from collections.abc import Mapping

from triptych.core.messages import nearest
from triptych.export.layouts.genai import GenAI
from triptych.export.layouts.layout import Layout, LayoutError
from triptych.export.layouts.onnx_community import OnnxCommunity

OWN = "triptych"
_OTHERS: Mapping[str, type[Layout]] = {"genai": GenAI, "onnx-community": OnnxCommunity}
LAYOUTS = (OWN, *_OTHERS)


def layout_named(name: str) -> type[Layout] | None:
    """The layout of that name; None for Triptych's own. Raises LayoutError for an unknown one."""
    if name != OWN and name not in _OTHERS:
        near = nearest(name, LAYOUTS)
        hint = f" Did you mean {near!r}?" if near else ""
        raise LayoutError(f"no layout {name!r}; there is {', '.join(LAYOUTS)}.{hint}")
    return _OTHERS.get(name)
