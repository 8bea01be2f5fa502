"""Recipes: what they mean, and what is said of mistakes."""

from __future__ import annotations

import json

import pytest

from triptych.cli.export import PRECISIONS as TYPED
from triptych.core.config_error import ConfigError
from triptych.export.precision import PRECISIONS, preset, read_recipe, recipe_of
from triptych.export.precision.blocks import BlockFormat
from triptych.export.precision.quantizers import QUANTIZERS
from triptych.export.precision.recipe import Scheme

RECIPE = """\
format: 1
default: {precision: int4, block: 64}
vision: int8
head: {symmetric: true, method: rtn}
weights:
  "*.layers.0.*": int8
  "*.down_proj.weight": {block: 32, accuracy_level: 1}
  "*.layers.[12].mlp.*": fp16
"""


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Gives the recipe that a text is."""
    monkeypatch.chdir(tmp_path)

    def reading(text):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return read_recipe(path.relative_to(tmp_path))

    return reading


def test_the_last_to_speak_of_a_setting_decides_it(read):
    scheme = read(RECIPE).recipe.scheme
    plain = Scheme("int4", BlockFormat(4, 64), 4, "hqq")
    assert scheme("attention", "model.layers.3.self_attn.q_proj.weight") == plain
    assert scheme("vision", "model.visual.blocks.0.attn.qkv.weight") == Scheme(
        "int8", BlockFormat(8, 64), 4, "rtn"
    )
    assert scheme("head", "lm_head.weight") == Scheme(
        "int4", BlockFormat(4, 64, symmetric=True), 4, "rtn"
    )
    assert scheme("mlp", "model.layers.0.mlp.down_proj.weight") == Scheme(
        "int8", BlockFormat(8, 32), 1, "rtn"
    )
    assert scheme("mlp", "model.layers.1.mlp.down_proj.weight").precision == "fp16"
    assert scheme("mlp", "model.layers.11.mlp.down_proj.weight") == Scheme(
        "int4", BlockFormat(4, 32), 1, "hqq"
    )


def test_what_a_recipe_leaves_out_is_fp32(read):
    recipe = read("format: 1\nhead: int8\n").recipe
    assert recipe.scheme("mlp", "x").precision == "fp32"
    assert recipe.scheme("head", "x") == Scheme("int8", BlockFormat(8, 32), 4, "rtn")


@pytest.mark.parametrize("name", PRECISIONS)
def test_a_precision_is_a_recipe_that_survives_its_record(name):
    file = preset(name)
    assert file.name == name
    record = json.loads(json.dumps({"precision": name, "recipe": file.recipe.plain()}))
    assert recipe_of(record, "export.json").recipe == file.recipe


def test_a_recipe_survives_its_record(read):
    recipe = read(RECIPE).recipe
    record = json.loads(json.dumps({"precision": "mine", "recipe": recipe.plain()}))
    found = recipe_of(record, "export.json")
    assert (found.name, found.recipe) == ("mine", recipe)


def test_an_older_export_has_the_recipe_of_its_precision():
    assert recipe_of({"precision": "fp16"}, "export.json").recipe == preset("fp16").recipe


def test_an_int4_part_of_int8_rows_has_blocks(read):
    """What a pattern says comes last, and a block of a whole row is for int8 only."""
    text = "format: 1\ndefault: {precision: int8, block: row}\nweights:\n  '*.mlp.*': int4\n"
    recipe = read(text).recipe
    assert recipe.scheme("vision", "visual.patch_embed.weight").in_rows
    assert recipe.scheme("mlp", "x.mlp.y") == Scheme("int4", BlockFormat(4, 32), 4, "hqq")
    assert recipe.rounds_products


def test_the_command_line_names_the_presets():
    assert TYPED == PRECISIONS


def test_recipes_name_the_methods_that_there_are(read):
    for method in QUANTIZERS:
        recipe = read(f"format: 1\ndefault: {{precision: int4, method: {method}}}\n").recipe
        assert recipe.scheme("mlp", "x").method == method


MISTAKES = {
    "": "mine.yaml:1:1: the file is empty\n  a recipe begins with 'format: 1'",
    "int4\n": "mine.yaml:1:1: 'int4' is not a mapping: a recipe begins with 'format: 1'",
    "default: int4\n": (
        "mine.yaml:1:1: format: this key must be given\n  a recipe begins with 'format: 1'"
    ),
    "format: 2\n": (
        "mine.yaml:1:9: format: 2 is not a format that this Triptych reads\n  upgrade triptych"
    ),
    "format: 1\nhaed: int8\n": (
        "mine.yaml:2:1: haed: there is no setting 'haed'\n  did you mean 'head'?\n"
        "  known: default, vision, embeddings, attention, mlp, head, prompts, weights"
    ),
    "format: 1\ndefault: int3\n": (
        "mine.yaml:2:10: default: 'int3' is not 'fp32', 'fp16', 'int8' or 'int4'\n"
        "  did you mean 'int8'?"
    ),
    "format: 1\ndefault: {block: 64}\n": (
        "mine.yaml:2:10: default: there is no precision to start with: add one, as in "
        "'precision: int4'"
    ),
    "format: 1\nmlp: {precision: int4, block: 16}\n": (
        "mine.yaml:2:31: mlp.block: 16 is not 32, 64, 128 or 'row'"
    ),
    "format: 1\nmlp: {precision: int4, block: row}\n": (
        "mine.yaml:2:6: mlp: int4 has no block of a whole row: that is for int8"
    ),
    "format: 1\nmlp: {precision: int8, block: row, symmetric: false}\n": (
        "mine.yaml:2:6: mlp: rows have no symmetric: they are symmetric, multiplied in whole "
        "numbers and rounded to nearest"
    ),
    "format: 1\nmlp: {precision: int4, blok: 32}\n": (
        "mine.yaml:2:24: mlp.blok: there is no setting 'blok'\n  did you mean 'block'?\n"
        "  known: precision, block, symmetric, accuracy_level, method"
    ),
    "format: 1\nmlp: {precision: fp16, block: 32}\n": (
        "mine.yaml:2:6: mlp: fp16 has no block: those are for int8 and int4"
    ),
    "format: 1\nmlp: {precision: int4, symmetric: 1}\n": (
        "mine.yaml:2:35: mlp.symmetric: 1 is not true or false"
    ),
    "format: 1\nmlp: {precision: int4, accuracy_level: 3}\n": (
        "mine.yaml:2:40: mlp.accuracy_level: 3 is not 0, 1 or 4"
    ),
    "format: 1\nmlp: {precision: int4, method: hqg}\n": (
        "mine.yaml:2:32: mlp.method: 'hqg' is not 'rtn', 'hqq' or 'gptq'\n  did you mean 'hqq'?"
    ),
    "format: 1\nweights:\n  - int4\n": "mine.yaml:3:3: weights: a list is not a mapping",
    "format: 1\nweights:\n  '*.q_proj.weight': 4\n": (
        "mine.yaml:3:22: weights.*.q_proj.weight: 4 is not a mapping of settings"
    ),
    "format: 1\nmlp: int4\nmlp: int8\n": (
        "mine.yaml:3:1: the key 'mlp' appears twice; first in line 2"
    ),
    "format: 1\nmlp: !!python/name:os.system int4\n": (
        "mine.yaml:2:6: tags are not supported; remove !!python/name:os.system"
    ),
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_told_with_its_place_and_its_remedy(read, text):
    with pytest.raises(ConfigError) as raised:
        read(text)
    assert str(raised.value) == MISTAKES[text]


def test_a_file_that_is_not_there(read, tmp_path):
    with pytest.raises(ConfigError, match=r"other\.yaml: cannot be read: No such file"):
        read_recipe(tmp_path / "other.yaml")


def test_a_pattern_that_nothing_matches_is_a_mistake(read):
    file = read("format: 1\nweights:\n  '*.q_proj.weight': int4\n  'lm_heads.weight': int8\n")
    names = ["lm_head.weight", "model.layers.0.self_attn.q_proj.weight"]
    with pytest.raises(ConfigError) as raised:
        file.check(names)
    assert str(raised.value) == (
        "mine.yaml:4:3: weights.lm_heads.weight: no weight of the checkpoint has a name of this "
        "form\n  did you mean 'lm_head.weight'?\n"
        "  patterns match whole names; * stands for any text, dots included"
    )


def test_int4_keeps_what_many_heads_share_in_8_bits():
    scheme = preset("int4").recipe.scheme
    layer = "model.layers.3.self_attn"
    names = ("q_proj", "k_proj", "v_proj", "o_proj")
    bits = [scheme("attention", f"{layer}.{name}.weight").format.bits for name in names]
    assert bits == [4, 8, 8, 4]
    assert scheme("mlp", "model.layers.3.mlp.down_proj.weight").format.bits == 4
    assert scheme("vision", "model.visual.blocks.0.attn.qkv.weight").in_rows
    parts = ("vision", "embeddings", "head")
    assert {scheme(part, "x").format.bits for part in parts} == {8}
    larger = [scheme("attention", f"{layer}.{name}_proj.weight").format for name in "kv"]
    larger += [scheme(part, "x").format for part in ("embeddings", "head")]
    assert {form.size for form in larger} == {128}, "and the two tables are one"
