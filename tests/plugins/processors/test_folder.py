"""What a folder's files say, and what is said when they are missing or broken."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tokenizers import Tokenizer

from triptych.core.prompt import Processor
from triptych.core.request import Request
from triptych.plugins.processors.folder import ModelFolder, ProcessorError
from triptych.plugins.processors.hf import HFProcessor


def change(folder: Path, name: str, **values: object) -> None:
    """Set keys of a JSON file; None removes one."""
    path = folder / name
    data = json.loads(path.read_text()) if path.exists() else {}
    data = {key: value for key, value in {**data, **values}.items() if value is not None}
    path.write_text(json.dumps(data))


def ids(folder: Path, *tokens: str) -> frozenset[int | None]:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return frozenset(tokenizer.token_to_id(token) for token in tokens)


def test_a_processor_keeps_the_cores_protocol(processor: HFProcessor) -> None:
    typed: Processor = processor
    assert typed.max_context == 4096


def test_a_generation_ends_with_the_tokens_of_its_config(folder: Path, load: Any) -> None:
    both = ids(folder, "<|im_end|>", "<|endoftext|>")
    assert load(folder).eos_ids == both
    one = min(index for index in both if index is not None)
    change(folder, "generation_config.json", eos_token_id=one)
    assert load(folder).eos_ids == {one}
    change(folder, "generation_config.json", eos_token_id=None)
    assert load(folder).eos_ids == ids(folder, "<|im_end|>")
    change(folder, "tokenizer_config.json", eos_token={"content": "<|endoftext|>"})
    assert load(folder).eos_ids == ids(folder, "<|endoftext|>")
    change(folder, "tokenizer_config.json", eos_token=None)
    assert load(folder).eos_ids == frozenset()
    change(folder, "config.json", text_config={"eos_token_id": [7, 8]})
    assert load(folder).eos_ids == {7, 8}


def test_the_longest_context_is_the_text_models(folder: Path, load: Any) -> None:
    change(folder, "config.json", max_position_embeddings=7)
    assert load(folder).max_context == 4096
    change(folder, "config.json", text_config=None)
    assert load(folder).max_context == 7
    (folder / "config.json").unlink()
    assert load(folder).max_context is None


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("config.json", {"image_token_id": "the id of <tool_call>"}),
        ("config.json", {"image_token_index": "the id of <tool_call>"}),
        ("processor_config.json", {"image_token": "<tool_call>"}),
        ("tokenizer_config.json", {"image_token": "<tool_call>"}),
        ("tokenizer_config.json", {"extra_special_tokens": {"image_token": "<tool_call>"}}),
    ],
)
def test_the_placeholder_is_what_the_files_say(
    folder: Path, load: Any, name: str, values: dict[str, Any]
) -> None:
    (own,) = ids(folder, "<tool_call>")
    change(folder, "config.json", image_token_id=None)
    change(
        folder, name, **{key: own if "the id" in value else value for key, value in values.items()}
    )
    assert load(folder)._placeholders.ids == {own}


def test_without_a_word_the_placeholder_is_qwens(folder: Path, load: Any) -> None:
    change(folder, "config.json", image_token_id=None)
    assert load(folder)._placeholders.ids == ids(folder, "<|image_pad|>")


def test_the_template_is_found_in_any_of_its_files(folder: Path, load: Any) -> None:
    def rendered() -> str:
        return load(folder).decode(load(folder).prompt(Request(text="a")).tokens.tolist())

    change(folder, "tokenizer_config.json", chat_template="config {{ messages[0].content }}")
    change(folder, "chat_template.json", chat_template="json {{ messages[0].content }}")
    (folder / "chat_template.jinja").write_text("jinja {{ messages[0].content }}")
    assert rendered() == "jinja a"
    (folder / "chat_template.jinja").unlink()
    assert rendered() == "json a"
    (folder / "chat_template.json").unlink()
    assert rendered() == "config a"
    named = [
        {"name": "rag", "template": "rag {{ messages[0].content }}"},
        {"name": "default", "template": "named {{ messages[0].content }}"},
    ]
    change(folder, "tokenizer_config.json", chat_template=named)
    assert rendered() == "named a"


def test_templates_see_the_special_tokens(folder: Path, load: Any) -> None:
    change(folder, "special_tokens_map.json", bos_token="<s>", eos_token="old")
    (folder / "chat_template.jinja").write_text(
        "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}"
    )
    tokens = load(folder).prompt(Request(text="a")).tokens.tolist()
    assert tokens == [*load(folder).encode("<s>a"), *ids(folder, "<|im_end|>")]


def test_image_settings_may_be_nested_in_the_processors(folder: Path, load: Any) -> None:
    nested = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    change(folder, "processor_config.json", image_processor={**nested, "patch_size": 8})
    assert load(folder).offers[0].axes == ("patches", 3 * 2 * 8 * 8)


def test_tokens_that_only_the_config_lists_are_added(folder: Path, load: Any) -> None:
    size = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size()
    entries = {
        str(size): {"content": "<|new|>", "special": True, "normalized": False},
        "447": {"content": "<|endoftext|>", "special": True},
    }
    change(folder, "tokenizer_config.json", added_tokens_decoder=entries)
    processor = load(folder)
    assert processor._codec.special["<|new|>"] == size
    assert processor.decode([size]) == ""
    assert size not in processor.encode("<|new|>")

    entries["9999"] = entries.pop(str(size))
    change(folder, "tokenizer_config.json", added_tokens_decoder=entries)
    with pytest.raises(ProcessorError, match=f"gives '<|new|>' the id 9999, but .* it is {size}"):
        load(folder)


def test_truncation_and_padding_of_a_tokenizer_file_do_not_apply(
    folder: Path, load: Any, processor: HFProcessor
) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=50)
    tokenizer.save(str(folder / "tokenizer.json"))
    text = "What colour is the circle?"
    assert load(folder).encode(text) == processor.encode(text)


def test_a_folder_without_tokenizer_json_goes_through_transformers(
    folder: Path, load: Any, processor: HFProcessor
) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.model.save(str(folder))
    entries = {
        index: {"content": token.content, "special": token.special, "normalized": token.normalized}
        for index, token in tokenizer.get_added_tokens_decoder().items()
    }
    change(folder, "tokenizer_config.json", added_tokens_decoder=entries)
    (folder / "tokenizer.json").unlink()
    text = "What colour is <|im_end|> the circle? <think>"
    assert load(folder).encode(text) == processor.encode(text)


def test_a_missing_or_broken_file_is_named(folder: Path, load: Any, tmp_path: Path) -> None:
    with pytest.raises(ProcessorError, match="is not a folder; name the one that holds tokenizer"):
        load(tmp_path / "missing")
    with pytest.raises(ProcessorError, match="is not a folder"):
        load(folder / "tokenizer.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ProcessorError, match=r"holds no tokenizer: no tokenizer\.json, nor any of"):
        load(tmp_path / "empty")

    for name in ("tokenizer_config.json", "preprocessor_config.json", "generation_config.json"):
        broken = shutil.copytree(folder, tmp_path / name)
        (broken / name).write_text("{")
        with pytest.raises(ProcessorError, match=f"{name} is not valid JSON: Expecting"):
            load(broken)
        (broken / name).write_text("[" * 100_000)
        with pytest.raises(ProcessorError, match=f"{name} is not valid JSON"):
            load(broken)
        (broken / name).write_text("[]")
        with pytest.raises(ProcessorError, match=f"{name} must hold a JSON object"):
            load(broken)
        (broken / name).write_bytes(b"\xff\xfe")
        with pytest.raises(ProcessorError, match=f"{name} cannot be read"):
            load(broken)

    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(ProcessorError, match=r"tokenizer\.json is not a tokenizer that can be re"):
        load(folder)


def test_a_huge_file_is_not_read(folder: Path) -> None:
    with (folder / "config.json").open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(ProcessorError, match="is larger than 16,777,216 bytes"):
        ModelFolder(folder).json("config.json")


@pytest.mark.parametrize(
    "settings",
    [
        {"min_pixels": 0},
        {"max_pixels": -1},
        {"pixel_limit": 0},
        {"min_pixels": 10, "max_pixels": 9},
        {"trust_remote_code": True},
    ],
)
def test_wrong_settings_are_refused(folder: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HFProcessor.Settings(folder=folder, **settings)
