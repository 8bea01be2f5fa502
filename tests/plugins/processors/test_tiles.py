"""Pictures as tiles: pixels to the bit and prompts to the id those of transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.export.idefics3.processor_files import (
    reference_processor,
    token_id,
    write_processor_files,
)
from triptych.core.errors import InputError
from triptych.core.request import Request
from triptych.plugins.processors.folder import ProcessorError
from triptych.plugins.processors.hf import HFProcessor
from triptych.plugins.processors.tiles import Layout, longest_edge

SIDE, ROWS, LONGEST = 48, 9, 144
SIZES = [
    (48, 48),
    (144, 96),
    (100, 100),
    (97, 201),
    (200, 33),
    (20, 300),
    (1, 1),
    (1, 500),
    (613, 2),
    (47, 49),
]


@pytest.fixture(scope="module")
def tiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("idefics3")
    return write_processor_files(folder, side=SIDE, rows=ROWS, longest=LONGEST)


@pytest.fixture(scope="module")
def processor(tiled: Path) -> HFProcessor:
    return HFProcessor(HFProcessor.Settings(folder=tiled))


@pytest.fixture(scope="module")
def reference(tiled: Path) -> Any:
    return reference_processor(tiled)


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def conversation(*contents: list[Any]) -> list[dict[str, Any]]:
    """Turns of the user and the assistant; a text or a picture is a part."""
    roles = ("user", "assistant")
    return [
        {
            "role": roles[index % 2],
            "content": [
                {"type": "text", "text": part}
                if isinstance(part, str)
                else {"type": "image", "image": part}
                for part in content
            ],
        }
        for index, content in enumerate(contents)
    ]


def pictures(messages: list[dict[str, Any]]) -> list[Image.Image]:
    parts = [part for message in messages for part in message["content"]]
    return [part["image"] for part in parts if part["type"] == "image"]


def expected(reference: Any, messages: list[dict[str, Any]]) -> dict[str, Any]:
    """What transformers makes of a conversation: ids and, of all pictures, the tiles."""
    text = reference.apply_chat_template(messages, add_generation_prompt=True)
    made = reference(
        text=text, images=[pictures(messages)], add_special_tokens=False, return_tensors="np"
    )
    return {"ids": made["input_ids"][0].tolist(), "tiles": made["pixel_values"][0]}


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_a_picture_has_the_tiles_and_the_ids_of_transformers(
    processor: HFProcessor, reference: Any, size: tuple[int, int]
) -> None:
    messages = conversation([picture(*size), "What is in the picture?"])
    wanted = expected(reference, messages)
    prompt = processor.prompt(Request(messages=messages))
    assert prompt.tokens.tolist() == wanted["ids"]
    tiles = prompt.media[0].ports["pixel_values"]
    np.testing.assert_array_equal(tiles, wanted["tiles"])
    assert tiles.dtype == np.float32
    at = np.flatnonzero(prompt.tokens == token_id("<image>"))
    assert prompt.media[0].at.tolist() == at.tolist()
    assert len(at) == ROWS * len(tiles)


def test_several_pictures_stand_where_their_parts_stand(
    processor: HFProcessor, reference: Any
) -> None:
    messages = conversation(
        ["Compare them:", picture(96, 144, 1), "\n\n", picture(30, 30, 2), "Describe it."],
        ["Two circles."],
        [picture(200, 50, 3), "\n"],
    )
    wanted = expected(reference, messages)
    prompt = processor.prompt(Request(messages=messages))
    assert prompt.tokens.tolist() == wanted["ids"]
    assert [item.ports["pixel_values"].shape[0] for item in prompt.media] == [7, 10, 4]
    tiles = np.concatenate([item.ports["pixel_values"] for item in prompt.media])
    np.testing.assert_array_equal(tiles, wanted["tiles"])


@pytest.mark.parametrize(
    "values",
    [
        {"do_image_splitting": False},
        {"do_resize": False},
        {"do_resize": False, "do_image_splitting": False},
        {"size": {"height": 96, "width": 48}},
        {"resample": 3, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]},
        {"do_normalize": False},
        {"do_rescale": False},
        {"do_rescale": False, "do_normalize": False},
        {"rescale_factor": 0.01},
    ],
    ids=str,
)
def test_settings_mean_what_they_mean_to_transformers(
    tmp_path: Path, load: Any, values: dict[str, Any]
) -> None:
    write_processor_files(tmp_path, side=SIDE, rows=ROWS, longest=LONGEST, **values)
    messages = conversation([picture(113, 60), "Describe it."])
    wanted = expected(reference_processor(tmp_path), messages)
    prompt = load(tmp_path).prompt(Request(messages=messages))
    assert prompt.tokens.tolist() == wanted["ids"]
    np.testing.assert_array_equal(prompt.media[0].ports["pixel_values"], wanted["tiles"])


@settings(deadline=None)
@given(st.integers(1, 9000), st.integers(1, 9000), st.integers(1, 6000))
def test_sizes_are_those_of_transformers(height: int, width: int, longest: int) -> None:
    from transformers.models.idefics3.image_processing_pil_idefics3 import (
        get_resize_output_image_size,
    )

    pixels = np.broadcast_to(np.uint8(0), (3, height, width))
    assert longest_edge(height, width, longest) == get_resize_output_image_size(pixels, longest)


@pytest.mark.parametrize("grid", [(0, 0), (1, 2), (2, 1), (4, 3)])
def test_smolvlm_lays_tiles_out_in_the_same_way(grid: tuple[int, int]) -> None:
    from transformers.models.smolvlm.processing_smolvlm import get_image_prompt_string

    layout = Layout(rows=5, fence="<f>", whole="<w>")
    pieces = layout.expansion(*grid).pieces
    text = "".join(p if isinstance(p, str) else "<image>" * p.count for p in pieces)
    assert text == get_image_prompt_string(*grid, 5, "<f>", "<image>", "<w>")


@pytest.mark.parametrize("suffix", ["", "Fast", "Pil"])
@pytest.mark.parametrize("family", ["Idefics3", "SmolVLM"])
def test_the_families_image_processors_are_known_by_any_of_their_names(
    tmp_path: Path, load: Any, family: str, suffix: str
) -> None:
    kind = f"{family}ImageProcessor{suffix}"
    write_processor_files(
        tmp_path, side=SIDE, rows=4, longest=LONGEST, family=family, image_processor_type=kind
    )
    port = load(tmp_path).offers[0]
    assert (port.name, port.axes) == ("pixel_values", ("tiles", 3, SIDE, SIDE))


def test_words_around_images_may_have_other_names(tmp_path: Path, load: Any) -> None:
    write_processor_files(tmp_path, side=SIDE, rows=1, longest=SIDE)
    path = tmp_path / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config["extra_special_tokens"] = {
        "fake_image_token": "<|im_end|>",
        "global_image_token": "<|endoftext|>",
    }
    path.write_text(json.dumps(config))
    tokens = load(tmp_path).prompt(Request(text="", images=[picture(48, 48)])).tokens.tolist()
    fence, whole = token_id("<|im_end|>"), token_id("<|endoftext|>")
    assert str([fence, whole, token_id("<image>"), fence])[1:-1] in str(tokens)


def test_words_that_a_user_spells_out_are_text(processor: HFProcessor) -> None:
    text = "<image><row_1_col_1><fake_token_around_image>"
    prompt = processor.prompt(Request(text=text, images=[picture(48, 48)]))
    assert prompt.tokens.tolist().count(token_id("<row_1_col_1>")) == 1
    assert prompt.image_tokens == 10 * ROWS


def test_pixels_wait_until_they_are_asked_for(
    processor: HFProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    media = processor.prompt(Request(text="a", images=[picture(100, 60)])).media[0]
    asked = []
    resize = Image.Image.resize
    monkeypatch.setattr(
        Image.Image, "resize", lambda *args, **kw: asked.append(1) or resize(*args, **kw)
    )
    assert media.ports["pixel_values"] is media.ports["pixel_values"]
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": {"shortest_edge": 3}}, "the image processor's settings"),
        ({"max_image_size": {"longest_edge": 0}}, "the image processor's settings"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(
    tmp_path: Path, load: Any, values: dict[str, Any], message: str
) -> None:
    write_processor_files(tmp_path, side=SIDE, rows=ROWS, longest=LONGEST, **values)
    with pytest.raises(ProcessorError, match=message):
        load(tmp_path)


def test_what_does_not_apply_is_refused(tiled: Path, tmp_path: Path, load: Any) -> None:
    with pytest.raises(ProcessorError, match="min_pixels and max_pixels do not apply"):
        load(tiled, max_pixels=1000)
    write_processor_files(tmp_path, side=SIDE, rows=0, longest=LONGEST)
    with pytest.raises(ProcessorError, match="image_seq_len is 0"):
        load(tmp_path)
    with pytest.raises(InputError, match="is not a picture"):
        load(tiled).prompt(Request(text="a", images=[3]))
