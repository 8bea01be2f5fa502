"""Folders of other tools, which an export can be written as.

A layout has a file of its own; what they do to the ports of graphs is in `ports`.
"""

from triptych.export.layouts.choice import LAYOUTS, layout_named
from triptych.export.layouts.layout import Layout, LayoutError

__all__ = ["LAYOUTS", "Layout", "LayoutError", "layout_named"]
