"""The files of ONNX Runtime GenAI in the terms of Hugging Face's, which they stand for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

PATCHES = "Qwen2VLImageProcessor"
"""What Hugging Face calls the image processor whose last step is GenAI's `PatchImage`."""

_RESAMPLING = {"NEAREST": 0, "LANCZOS": 1, "LINEAR": 2, "CUBIC": 3}
"""Pillow's numbers for the interpolations of onnxruntime-extensions."""


def model_config(genai_config: Mapping[str, Any]) -> dict[str, Any]:
    """What ``genai_config.json`` says, as ``config.json`` would; empty where it says nothing."""
    model = genai_config.get("model")
    if not isinstance(model, dict):
        return {}
    config = {
        name: model[name]
        for name in ("eos_token_id", "image_token_id", "video_token_id", "vision_start_token_id")
        if name in model
    }
    if "type" in model:
        config["model_type"] = model["type"]
    if "context_length" in model:
        config["max_position_embeddings"] = model["context_length"]
    return config


def image_config(processor_config: Mapping[str, Any]) -> dict[str, Any]:
    """The steps of GenAI's ``processor_config.json`` as a ``preprocessor_config.json``.

    Empty where there are none, or where they do not end in patches.
    """
    steps = dict(_steps(processor_config))
    if "PatchImage" not in steps:
        return {}
    resize, patch = steps.get("Resize", {}), steps["PatchImage"]
    normalize = steps.get("Normalize", {})
    named = {
        "min_pixels": resize.get("min_pixels"),
        "max_pixels": resize.get("max_pixels"),
        "resample": _RESAMPLING.get(str(resize.get("interpolation"))),
        "rescale_factor": steps.get("Rescale", {}).get("rescale_factor"),
        "image_mean": normalize.get("mean"),
        "image_std": normalize.get("std"),
        "patch_size": patch.get("patch_size"),
        "temporal_patch_size": patch.get("temporal_patch_size"),
        "merge_size": patch.get("merge_size"),
    }
    given = {name: value for name, value in named.items() if value is not None}
    return {"image_processor_type": PATCHES, **given}


def _steps(processor_config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The type and the attributes of each step."""
    processor = processor_config.get("processor")
    transforms = processor.get("transforms") if isinstance(processor, dict) else None
    for transform in transforms if isinstance(transforms, list) else []:
        operation = transform.get("operation") if isinstance(transform, dict) else None
        if isinstance(operation, dict):
            attributes = operation.get("attrs")
            yield (
                str(operation.get("type")),
                attributes if isinstance(attributes, dict) else {},
            )
