"""What an export exposes is what transformers computes inside, and costs nothing unread."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnxruntime
import pytest
import torch

from tests.export.checkpoints import SHAPES, random_checkpoint
from tests.export.reference import Reference
from triptych.core.graphs.cut import cut_outputs
from triptych.core.graphs.header import read_header
from triptych.core.graphs.session import session_options
from triptych.core.stages import Runtime
from triptych.export import export_checkpoint
from triptych.export.exposing import ExposureError
from triptych.export.split import SplitError

EVERYTHING = "hidden:all,attention:all,early_logits:all,vision_attention:all"
GRIDS = [(4, 6), (8, 4)]
TOLERANCE = 1e-4
LONGEST = 96


class Open:
    """A checkpoint, its export with everything exposed, and what transformers has inside."""

    def __init__(self, shape, folder):
        self.shape = shape
        checkpoint = random_checkpoint(folder / "checkpoint", shape=shape)
        self.folder = export_checkpoint(checkpoint, folder / "export", expose=EVERYTHING)
        self.reference = Reference(checkpoint)
        self.reference.model.set_attn_implementation("eager")
        self.prompt = self.reference.prompt(np.random.default_rng(1), GRIDS, text=5)

    def session(self, name):
        path = self.folder / f"{name}.onnx"
        providers = ["CPUExecutionProvider"]
        return onnxruntime.InferenceSession(path, session_options(Runtime()), providers=providers)

    def decode(self, session, pasts, slices):
        """All outputs of the decoder by name, for each slice of the prompt."""
        prompt, reference = self.prompt, self.reference
        features, deepstack = reference.vision(prompt.pixels, prompt.grids)
        positions, _ = reference.positions(prompt)
        at = prompt.ids == reference.config.image_token_id
        table = reference.model.get_input_embeddings().weight.detach().numpy()
        embeds = table[prompt.ids]
        embeds[at] = features
        spread = np.zeros((len(deepstack), *embeds.shape), np.float32)
        spread[:, at] = deepstack
        names = [output.name for output in session.get_outputs()]
        for begin, end in slices:
            feeds = {
                "inputs_embeds": embeds[None, begin:end],
                "attention_mask": np.ones((1, end), np.int64),
                "position_ids": positions[:, :, begin:end],
                "deepstack_embeds": spread[:, None, begin:end],
                "logit_index": np.array([[end - begin - 1]]),
                **pasts,
            }
            wrote = dict(zip(names, session.run(None, feeds), strict=True))
            pasts = {name: wrote[name.replace("past_key_values", "present")] for name in pasts}
            yield wrote


@dataclass
class Inside:
    """What transformers has: after each layer, each layer's attention, the norm and the head."""

    hidden: list[np.ndarray]
    attention: list[np.ndarray]
    early: list[np.ndarray]


def inside(opened):
    """The model's own forward pass, overheard: what each layer is given is what the last left."""
    reference, heard = opened.reference, []
    text = reference.model.model.language_model

    def hear(_, args, kwargs):
        heard.append((args[0] if args else kwargs["hidden_states"]).detach())

    places = [*text.layers[1:], text.norm]
    hooks = [place.register_forward_pre_hook(hear, with_kwargs=True) for place in places]
    with torch.no_grad():
        out = reference.model(**reference._inputs(opened.prompt), output_attentions=True)
    for hook in hooks:
        hook.remove()
    with torch.no_grad():
        early = [reference.model.lm_head(text.norm(one))[0, -1:].numpy() for one in heard]
    return Inside(
        [one[0].numpy() for one in heard],
        [one[0].numpy() for one in out.attentions],
        early,
    )


@pytest.fixture(scope="module", params=["tied", "untied, one kv head", "DeepStack on every layer"])
def opened(request, tmp_path_factory):
    return Open(SHAPES[request.param], tmp_path_factory.mktemp("open"))


def empty_pasts(shape):
    size = (1, shape.kv_heads, LONGEST, shape.head)
    parts = [(layer, part) for layer in range(shape.layers) for part in ("key", "value")]
    return {f"past_key_values.{layer}.{part}": np.zeros(size, np.float32) for layer, part in parts}


def test_what_is_exposed_is_what_transformers_computes_however_the_prompt_is_cut(opened):
    shape, length = opened.shape, len(opened.prompt)
    expected, session = inside(opened), opened.session("decoder")
    cut = [(0, 11), (11, length - 1), (length - 1, length)]
    for slices in [[(0, length)], cut]:
        parts = list(opened.decode(session, empty_pasts(shape), slices))
        for layer in range(shape.layers):
            hidden = np.concatenate([part[f"hidden.{layer}"][0] for part in parts])
            np.testing.assert_allclose(hidden, expected.hidden[layer], atol=TOLERANCE)
            for (begin, end), part in zip(slices, parts, strict=True):
                rows = part[f"attention.{layer}"][0]
                np.testing.assert_allclose(rows.sum(-1), 1, atol=1e-5)
                wanted = expected.attention[layer][:, begin:end, :end]
                np.testing.assert_allclose(rows, wanted, atol=TOLERANCE)
        for layer in range(shape.layers - 1):
            early = parts[-1][f"early_logits.{layer}"][0]
            np.testing.assert_allclose(early, expected.early[layer], atol=TOLERANCE)


def test_rows_of_a_batch_of_unequal_lengths_attend_to_their_own_tokens(opened):
    shape, session = opened.shape, opened.session("decoder")
    random = np.random.default_rng(3)
    size = (2, shape.kv_heads, LONGEST, shape.head)
    pasts = {name: random.standard_normal(size).astype(np.float32) for name in empty_pasts(shape)}
    mask = np.zeros((2, 9), np.int64)
    mask[0, :9] = mask[1, :4] = 1
    feeds = {
        "inputs_embeds": random.standard_normal((2, 1, shape.hidden)).astype(np.float32),
        "attention_mask": mask,
        "position_ids": np.broadcast_to(np.array([[[8], [3]]]), (3, 2, 1)).copy(),
        "deepstack_embeds": np.zeros((len(shape.deepstack), 2, 1, shape.hidden), np.float32),
        "logit_index": np.zeros((2, 1), np.int64),
        **pasts,
    }
    [rows] = session.run(["attention.0"], feeds)
    np.testing.assert_allclose(rows.sum(-1), 1, atol=1e-5)
    assert (rows[0] > 0).all()
    assert (rows[1, :, :, :4] > 0).all()
    assert (rows[1, :, :, 4:] == 0).all()


def test_a_merged_row_receives_what_its_patches_do_of_its_own_image(opened):
    shape, prompt = opened.shape, opened.prompt
    vision, heard = opened.reference.model.model.visual, []
    last = shape.vision_depth - 1

    def hear(module, args, kwargs):
        states, (cos, sin) = (
            args[0] if args else kwargs["hidden_states"],
            kwargs["position_embeddings"],
        )
        parts = module.qkv(states).reshape(len(states), 3, module.num_heads, -1).permute(1, 2, 0, 3)
        half = parts.shape[-1] // 2
        turned = [
            one * cos + torch.cat([-one[..., half:], one[..., :half]], -1) * sin
            for one in parts[:2]
        ]
        heard.append([one.detach() for one in turned])

    hook = vision.blocks[last].attn.register_forward_pre_hook(hear, with_kwargs=True)
    opened.reference.vision(prompt.pixels, prompt.grids)
    hook.remove()
    queries, keys = heard[0]
    expected, begin = [], 0
    for height, width in GRIDS:
        own = slice(begin, begin + height * width)
        scores = queries[:, own] @ keys[:, own].transpose(1, 2) * queries.shape[-1] ** -0.5
        received = scores.softmax(-1).mean(dim=(0, 1))
        expected.append(received.reshape(-1, 4).sum(-1).numpy())
        begin = own.stop
    feeds = {"pixel_values": prompt.pixels, "image_grid_thw": prompt.grids}
    [rows] = opened.session("vision_encoder").run([f"vision_attention.{last}"], feeds)
    np.testing.assert_allclose(rows, np.concatenate(expected), atol=TOLERANCE)
    assert rows[: len(expected[0])].sum() == pytest.approx(1, abs=1e-5)


def test_what_is_exposed_need_not_be_read(opened):
    header = read_header(opened.folder / "decoder.onnx")
    assert "attention.0" in header.on_demand
    assert "logits" not in header.on_demand


def test_a_graph_without_its_exposed_outputs_has_the_nodes_of_a_plain_export(opened, tmp_path):
    plain = export_checkpoint(opened.folder.parent / "checkpoint", tmp_path / "plain")
    for name in ("vision_encoder.onnx", "decoder.onnx"):
        exposed = read_header(opened.folder / name).on_demand
        rest = cut_outputs((opened.folder / name).read_bytes(), exposed)
        assert operators(rest) == operators(cut_outputs((plain / name).read_bytes(), ()))
    assert "Softmax" not in operators(rest)


def operators(content):
    import onnx

    return [node.op_type for node in onnx.load_model_from_string(content).graph.node]


@pytest.mark.parametrize(
    ("wanted", "cause"),
    [
        ("hidden", "not KIND:LAYERS"),
        ("hidden:1,", "not KIND:LAYERS"),
        ("hidden:9", "no hidden of layer 9; there is one of: 0, 1, 2"),
        ("colour:0", "no 'colour' to expose; it offers: attention, early_logits, hidden, vision"),
    ],
)
def test_what_cannot_be_exposed_is_said_and_nothing_is_left(tmp_path, wanted, cause):
    checkpoint = random_checkpoint(tmp_path / "checkpoint")
    with pytest.raises(ExposureError, match=cause):
        export_checkpoint(checkpoint, tmp_path / "export", expose=wanted)
    assert not (tmp_path / "export").exists()


def test_attention_is_not_computed_from_keys_in_whole_numbers(tmp_path):
    checkpoint = random_checkpoint(tmp_path / "checkpoint")
    with pytest.raises(ExposureError, match="kv-cache fp32"):
        export_checkpoint(checkpoint, tmp_path / "export", expose="attention:0", kv_cache="int8")


def test_layers_are_ranges_and_sums(tmp_path):
    checkpoint = random_checkpoint(tmp_path / "checkpoint")
    folder = export_checkpoint(checkpoint, tmp_path / "export", expose="hidden:0+1-2,attention:1")
    exposed = read_header(folder / "decoder.onnx").on_demand
    assert exposed == {"hidden.0", "hidden.1", "hidden.2", "attention.1"}


@pytest.mark.parametrize("layer", [0, 99])
def test_a_split_at_no_layer_is_refused_by_its_own_name(tmp_path, layer):
    checkpoint = random_checkpoint(tmp_path / "checkpoint", shape=SHAPES["tied"])
    with pytest.raises(SplitError, match=rf"^--split-decoder {layer}: "):
        export_checkpoint(checkpoint, tmp_path / "export", split=layer)
    assert not (tmp_path / "export").exists()
