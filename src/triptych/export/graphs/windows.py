"""Layers that look back on the last tokens only, as Qwen's text configs name them."""

from __future__ import annotations

from collections.abc import Mapping

from triptych.export.section import Section

SLIDING, FULL = "sliding_attention", "full_attention"
# Before transformers 4.53 a config had no `layer_types`; from this layer on windows slid.
DEFAULT_WINDOW = 4096


def sliding_windows(section: Section, *, from_layer: int) -> Mapping[int, int]:
    """How many tokens each layer with a window looks at, its own among them.

    from_layer: the first layer with one, where the config is silent. Windows count only where
    `use_sliding_window` is true. Raises ModelConfigError.
    """
    if not section.flag("use_sliding_window"):
        return {}
    layers = section.count("num_hidden_layers")
    first = section.values.get("max_window_layers", from_layer)
    kinds = section.values.get("layer_types") or [
        SLIDING if layer >= first else FULL for layer in range(layers)
    ]
    if len(kinds) != layers or not set(kinds) <= {SLIDING, FULL}:
        section.refuse("layer_types", f"{layers} of {FULL} and {SLIDING}")
    window = section.count("sliding_window", DEFAULT_WINDOW)
    return {layer: window for layer, kind in enumerate(kinds) if kind == SLIDING}
