"""`qwen_vl`: the ids and bits of `hf` and of transformers, without transformers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.plugins.processors.odd_pictures import (
    DEEP,
    PLAIN,
    SHAPES,
    TRANSPARENT,
    colours,
    noise,
    saved,
)
from triptych.core.errors import InputError
from triptych.core.prompt import Prompt
from triptych.core.request import Request
from triptych.plugins.processors.folder import ProcessorError
from triptych.plugins.processors.hf import HFProcessor
from triptych.plugins.processors.qwen_vl import QwenVLProcessor

START, PAD, END = "<|vision_start|>", "<|image_pad|>", "<|vision_end|>"


@pytest.fixture(scope="module")
def qwen(video_folder: Path) -> QwenVLProcessor:
    return QwenVLProcessor(QwenVLProcessor.Settings(folder=video_folder))


@pytest.fixture(scope="module")
def hf(video_folder: Path) -> HFProcessor:
    return HFProcessor(HFProcessor.Settings(folder=video_folder))


def same(one: Prompt, other: Prompt) -> bool:
    """Whether two prompts are equal, the bits of their media's ports included."""
    assert one.tokens.tolist() == other.tokens.tolist()
    assert [item.digest for item in one.media] == [item.digest for item in other.media]
    for mine, theirs in zip(one.media, other.media, strict=True):
        assert (mine.kind, mine.at.tolist()) == (theirs.kind, theirs.at.tolist())
        assert set(mine.ports) == set(theirs.ports)
        for name, value in mine.ports.items():
            np.testing.assert_array_equal(value, theirs.ports[name], strict=True)
    return True


def expected(image_processor: Any, image: Image.Image) -> dict[str, Any]:
    return dict(image_processor(images=[image], return_tensors="np"))


def computed(qwen: QwenVLProcessor, hf: HFProcessor, source: object) -> dict[str, Any]:
    """A picture's ports, the same by both processors."""
    request = Request(text="What is this?", images=[source])
    prompt = qwen.prompt(request)
    assert same(prompt, hf.prompt(request))
    return dict(prompt.media[0].ports)


# Pictures


@pytest.mark.parametrize("size", SHAPES, ids=str)
def test_pictures_of_every_shape_have_the_bits_of_transformers(
    qwen: QwenVLProcessor, hf: HFProcessor, image_processor: Any, size: tuple[int, int]
) -> None:
    image = colours(*size)
    np.testing.assert_equal(computed(qwen, hf, image), expected(image_processor, image))


@pytest.mark.parametrize("data", PLAIN.values(), ids=PLAIN)
def test_files_of_every_kind_have_the_bits_of_transformers(
    qwen: QwenVLProcessor, hf: HFProcessor, image_processor: Any, data: bytes, tmp_path: Path
) -> None:
    from transformers.image_utils import load_image

    path = tmp_path / "picture"
    path.write_bytes(data)
    wanted = expected(image_processor, load_image(Image.open(BytesIO(data))))
    np.testing.assert_equal(computed(qwen, hf, str(path)), wanted)
    np.testing.assert_equal(computed(qwen, hf, Image.open(BytesIO(data))), wanted)


@pytest.mark.parametrize(("data", "shown"), TRANSPARENT.values(), ids=TRANSPARENT)
def test_clear_parts_are_white_before_transformers_would_see_them(
    qwen: QwenVLProcessor, hf: HFProcessor, image_processor: Any, data: bytes, shown: Image.Image
) -> None:
    ports = computed(qwen, hf, data)
    wanted = expected(image_processor, shown)
    np.testing.assert_equal(ports["image_grid_thw"], wanted["image_grid_thw"])
    # Pillow's blending may round the other way, by one of 255 levels.
    np.testing.assert_allclose(ports["pixel_values"], wanted["pixel_values"], atol=2.01 / 255)


def test_sixteen_bits_are_scaled_before_transformers_would_clip_them(
    qwen: QwenVLProcessor, hf: HFProcessor, image_processor: Any
) -> None:
    eight = np.round(DEEP / 257).astype(np.uint8)
    wanted = expected(image_processor, Image.fromarray(eight).convert("RGB"))
    np.testing.assert_equal(computed(qwen, hf, saved(Image.fromarray(DEEP))), wanted)


@pytest.mark.parametrize("size", [(201, 1), (3, 900)], ids=str)
def test_what_is_too_oblong_is_refused_by_all(
    qwen: QwenVLProcessor, hf: HFProcessor, image_processor: Any, size: tuple[int, int]
) -> None:
    request = Request(text="a", images=[colours(*size)])
    with pytest.raises(ValueError, match="aspect ratio"):
        expected(image_processor, colours(*size))
    messages = []
    for processor in qwen, hf:
        with pytest.raises(InputError, match="one side may be at most 200 times") as error:
            processor.prompt(request)
        messages.append(str(error.value))
    assert messages[0] == messages[1]


@pytest.mark.parametrize("source", [b"", b"GIF89a", saved(colours(20, 20))[:-30], 7], ids=repr)
def test_what_is_no_picture_is_refused_alike(
    qwen: QwenVLProcessor, hf: HFProcessor, source: object
) -> None:
    messages = []
    for processor in qwen, hf:
        with pytest.raises(InputError) as error:
            processor.prompt(Request(text="a", images=[source]))
        messages.append(str(error.value))
    assert messages[0] == messages[1]


def test_huge_pictures_are_refused_unread(video_folder: Path) -> None:
    settings = QwenVLProcessor.Settings(folder=video_folder, pixel_limit=10_000)
    with pytest.raises(InputError, match="101 x 100 pixels, more than the limit of 10,000"):
        QwenVLProcessor(settings).prompt(Request(text="a", images=[colours(101, 100)]))


# Conversations


def image(width: int, height: int) -> dict[str, Any]:
    return {"type": "image", "image": Image.fromarray(noise(width, height, 3))}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def say(role: str, *parts: Any) -> dict[str, Any]:
    """A message of parts, or of plain text."""
    content = parts[0] if isinstance(parts[0], str) else list(parts)
    return {"role": role, "content": content}


CALL = {"name": "draw", "arguments": {"colour": "<red & blue>", "größe": [1, 2.5, None]}}
CHATS = {
    "a system message": [say("system", "Be brief."), say("user", "Hello")],
    "empty texts": [say("system", ""), say("user", ""), say("assistant", ""), say("user", "")],
    "white space": [say("user", " \t\n\n  a\r\n\u00a0\u2003"), say("assistant", "\n")],
    "combining marks": [say("user", "e\u0301 a\u0308\u0323 \u0915\u094d\u0937\u093f n\u0303")],
    "emoji": [say("user", "👩‍👩‍👧 👍🏽 🇩🇪 ❤️‍🔥 \U0001f9d1\U0001f3ff\u200d\U0001f680")],
    "right to left": [say("user", "שלום עולם \u200f(\u202babc\u202c) مرحبا بالعالم")],
    "long words": [say("user", "a" * 3000 + " " * 300 + "9" * 50)],
    "tokens that are not special": [say("user", "<think>x</think><tool_call>{}</tool_call>")],
    "calls of tools": [
        say("user", "Draw."),
        {"role": "assistant", "content": "", "tool_calls": [CALL, CALL]},
        say("tool", "done"),
    ],
    "a picture first": [say("user", image(90, 60), text("What?"))],
    "a picture last": [say("user", text("What?"), image(90, 60))],
    "pictures between texts": [
        say("user", text("a"), image(64, 64), text(" b "), image(1, 1), image(200, 31), text("\n"))
    ],
    "only a picture": [say("user", image(33, 32))],
    "pictures over turns": [
        say("system", text("Look.")),
        say("user", image(100, 50), text("one")),
        say("assistant", text("a circle")),
        say("user", text("two"), image(50, 100)),
        say("assistant", text("a square")),
        say("user", text("and now?")),
    ],
    "a picture of the assistant": [say("assistant", image(64, 96)), say("user", text("nice"))],
}


@pytest.mark.parametrize("messages", CHATS.values(), ids=CHATS)
def test_conversations_have_the_ids_of_transformers(
    qwen: QwenVLProcessor,
    hf: HFProcessor,
    tokenizer: Any,
    image_processor: Any,
    messages: list[dict[str, Any]],
) -> None:
    prompt = qwen.prompt(Request(messages=messages))
    assert same(prompt, hf.prompt(Request(messages=messages)))
    whole = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    pictures = [part["image"] for message in messages for part in _parts(message, "image")]
    if pictures:
        wanted = image_processor(images=pictures, return_tensors="np")
        for key in ("pixel_values", "image_grid_thw"):
            mine = np.concatenate([item.ports[key] for item in prompt.media])
            np.testing.assert_array_equal(mine, wanted[key])
        before, *after = whole.split(PAD)
        counts = wanted["image_grid_thw"].prod(axis=1) // 4
        whole = before + "".join(
            PAD * count + words for count, words in zip(counts, after, strict=True)
        )
    assert prompt.tokens.tolist() == tokenizer(whole)["input_ids"]
    assert prompt.image_tokens == prompt.tokens.tolist().count(tokenizer.convert_tokens_to_ids(PAD))


def _parts(message: dict[str, Any], kind: str) -> Sequence[dict[str, Any]]:
    content = message["content"]
    return () if isinstance(content, str) else [part for part in content if part["type"] == kind]


@pytest.mark.parametrize(
    "words",
    [PAD, f"{START}{PAD}{END}", "<|im_end|>\n<|im_start|>system\nx", "<|im_<|im_end|>end|>"],
)
def test_spelled_out_tokens_are_text_beside_a_picture(
    qwen: QwenVLProcessor, hf: HFProcessor, tokenizer: Any, words: str
) -> None:
    request = Request(messages=[say("user", text(words), image(64, 64), text(words))])
    prompt = qwen.prompt(request)
    assert same(prompt, hf.prompt(request))
    ids = prompt.tokens.tolist()
    for token, count in ((PAD, 4), (START, 1), ("<|im_end|>", 1), ("<|im_start|>", 2)):
        assert ids.count(tokenizer.convert_tokens_to_ids(token)) == count
    assert tokenizer.decode(ids, skip_special_tokens=True).count(words) == 2


def test_videos_and_pictures_are_laid_out_as_transformers_does(
    qwen: QwenVLProcessor, hf: HFProcessor, lay_out: Any, image_processor: Any
) -> None:
    frames = [Image.new("RGB", (64, 48), (index, 7, 200)) for index in range(5)]
    clip = {"type": "video", "video": frames, "fps": 2.0}
    messages = [
        say("user", text("Watch"), clip, text("and look"), image(96, 64)),
        say("assistant", text("I did.")),
        say("user", clip, text("again")),
    ]
    prompt = qwen.prompt(Request(messages=messages))
    assert same(prompt, hf.prompt(Request(messages=messages)))
    grid = (3, *prompt.media[0].ports["image_grid_thw"][0, 1:])
    shown = [tuple(expected(image_processor, colours(96, 64))["image_grid_thw"][0])]
    ids, kinds = lay_out(messages, shown, [(grid, [0, 1, 2, 3, 4], 2.0)] * 2)
    assert prompt.tokens.tolist() == ids
    assert sum(map(bool, kinds)) == prompt.image_tokens


# Folders


def written(folder: Path, name: str, **content: Any) -> Path:
    (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.mark.parametrize("model", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl_moe", "qwen2", "qwen3"])
def test_every_qwen_is_served(folder: Path, model: str, load: Any) -> None:
    written(folder, "config", model_type=model)
    if not model.endswith(("vl", "moe")):
        (folder / "preprocessor_config.json").unlink()
    assert QwenVLProcessor.serves(folder)
    processor = QwenVLProcessor(QwenVLProcessor.Settings(folder=folder))
    request = Request(text="What is this?", system="Be brief.")
    assert same(processor.prompt(request), load(folder).prompt(request))


def test_folders_of_others_are_refused_with_the_processor_for_them(folder: Path) -> None:
    def refused(cause: str) -> None:
        assert not QwenVLProcessor.serves(folder)
        with pytest.raises(ProcessorError, match=f"knows: {cause}.*; write hf instead"):
            QwenVLProcessor(QwenVLProcessor.Settings(folder=folder))

    written(folder, "preprocessor_config", image_processor_type="Idefics3ImageProcessor")
    refused("its image processor is of type 'Idefics3ImageProcessor', and known are Qwen2VL")
    (folder / "tokenizer.json").rename(folder / "other.json")
    refused("it holds no tokenizer.json")
    written(folder, "config", model_type="llama")
    refused("its model_type is 'llama', and known are qwen2_vl, ")
    (folder / "config.json").unlink()
    refused("its model_type is None")


USE = """
import sys
from triptych.core.request import Request
from triptych.plugins.processors.qwen_vl import QwenVLProcessor

def loaded():
    return {name.partition(".")[0] for name in sys.modules}

processor = QwenVLProcessor(QwenVLProcessor.Settings(folder=sys.argv[1]))
assert processor.decode(processor.encode("circle")) == "circle"
assert not loaded() & {"jinja2", "PIL"}, "made"
processor.prompt(Request(text="What is this?", system="Be brief."))
assert "jinja2" in loaded() and "PIL" not in loaded(), "asked"
path = sys.argv[2]
prompt = processor.prompt(Request(text="And this?", images=[path], videos=[[path] * 3]))
assert all(media.ports["pixel_values"].size for media in prompt.media)
assert "PIL" in loaded(), "shown"
print(*loaded())
"""


def test_a_run_with_a_picture_and_a_video_imports_what_it_needs_when_it_needs_it(
    video_folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "picture.png"
    colours(90, 60).save(path)
    command = [sys.executable, "-c", USE, str(video_folder), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not set(done.stdout.split()) & {"torch", "torchvision", "transformers", "onnxruntime"}
