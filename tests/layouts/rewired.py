"""The graphs of `sketch` under the conventions of other tools: the same weights, other ports.

Each function writes a folder as that tool would. Only ports are changed, by nodes in front of the
graph and behind it, so the tokens must be those of `sketch` itself.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from triptych.core.config.locate import builtin

SKETCH = builtin("sketch")
CONFIG = json.loads((SKETCH / "config.json").read_text(encoding="utf-8"))
IMAGE = CONFIG["image_token_id"]
HIDDEN = CONFIG["text_config"]["hidden_size"]
LAYERS = CONFIG["text_config"]["num_hidden_layers"]
HEADS = CONFIG["text_config"]["num_key_value_heads"]
HEAD = CONFIG["text_config"]["head_dim"]
DEEP = len(CONFIG["vision_config"]["deepstack_visual_indexes"])
VOCABULARY = CONFIG["text_config"]["vocab_size"]

FLOAT, HALF, INT, BOOL = (
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.INT64,
    TensorProto.BOOL,
)
PROCESSOR_FILES = ("chat_template.jinja", "tokenizer.json", "tokenizer_config.json")
HF_FILES = (*PROCESSOR_FILES, "config.json", "generation_config.json", "preprocessor_config.json")


class Graph:
    """One of sketch's graphs, to be given other ports. name: its file's stem."""

    def __init__(self, name):
        self.model = onnx.load(SKETCH / f"{name}.onnx")
        self.graph = self.model.graph
        self.front, self.back = [], []
        self.made = 0

    def takes(self, name, kind, shape):
        """A new input."""
        self.graph.input.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def gives(self, name, kind, shape):
        """A new output."""
        self.graph.output.append(helper.make_tensor_value_info(name, kind, shape))

    def drop(self, name):
        """An input or output that is one no more; its value may still be made, or used."""
        for ports in (self.graph.input, self.graph.output):
            for port in [port for port in ports if port.name == name]:
                ports.remove(port)
        return name

    def constant(self, value, dtype=np.int64):
        self.made += 1
        name = f"rewired.{self.made}"
        self.graph.initializer.append(numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def before(self, op, *inputs, to=None, **attributes):
        return self._node(self.front, op, inputs, to, attributes)

    def after(self, op, *inputs, to=None, **attributes):
        return self._node(self.back, op, inputs, to, attributes)

    def renamed(self, old, new, shape, kind=FLOAT):
        """An input or output under another name, of another type where `kind` says so."""
        reads = any(port.name == old for port in self.graph.input)
        own = next(
            port.type.tensor_type.elem_type
            for port in (*self.graph.input, *self.graph.output)
            if port.name == old
        )
        self.drop(old)
        inner = old
        if old == new:
            inner = f"{old}.inner"
            for node in self.graph.node:
                for names in (node.input, node.output):
                    for index, name in enumerate(names):
                        if name == old:
                            names[index] = inner
        if reads:
            self.before("Cast", self.takes(new, kind, shape), to=inner, _to=own)
        else:
            self.after("Cast", inner, to=new, _to=kind)
            self.gives(new, kind, shape)

    def save(self, path):
        nodes = [*self.front, *self.graph.node, *self.back]
        del self.graph.node[:]
        self.graph.node.extend(nodes)
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(self.model, path)

    def _node(self, nodes, op, inputs, to, attributes):
        self.made += 1
        name = to or f"rewired.{self.made}"
        if "_to" in attributes:
            attributes["to"] = attributes.pop("_to")
        nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name


# The vision encoder


def vision(path, *, grid="image_grid_thw", deepstack="stacked", kind=FLOAT):
    """deepstack: "stacked", "indexed", or None where it is lost."""
    graph = Graph("vision_encoder")
    graph.renamed("pixel_values", "pixel_values", ["num_patches", 1536], kind)
    graph.renamed("image_grid_thw", grid, ["num_images", 3], INT)
    if deepstack == "indexed":
        graph.drop("deepstack_features")
        for layer in range(DEEP):
            index = graph.constant(layer)
            one = graph.after("Gather", "deepstack_features", index, axis=0)
            name = graph.after("Cast", one, to=f"deepstack_features_{layer}", _to=kind)
            graph.gives(name, kind, ["num_rows", HIDDEN])
    elif deepstack == "stacked":
        shape = [DEEP, "num_rows", HIDDEN]
        graph.renamed("deepstack_features", "deepstack_features", shape, kind)
    else:
        graph.drop("deepstack_features")
    graph.renamed("image_features", "image_features", ["num_rows", HIDDEN], kind)
    graph.save(path)


# The embeddings


def embeddings(path, *, kind=FLOAT):
    """Text alone; the host puts the image in its places."""
    graph = Graph("embeddings")
    graph.renamed("input_ids", "input_ids", ["batch_size", "sequence_length"], INT)
    graph.renamed("inputs_embeds", "inputs_embeds", ["batch_size", "sequence_length", HIDDEN], kind)
    graph.save(path)


def fusing(path, *, deepstack=None, kind=FLOAT):
    """The image's rows are put in the places of `IMAGE` within the graph.

    deepstack: None, or in which form the layers come and go: "stacked", "indexed" or "packed"
    (indexed layers come, and one port [B, S, layers * H] goes).
    """
    graph = Graph("embeddings")
    full = ["batch_size", "sequence_length", HIDDEN]
    graph.renamed("input_ids", "input_ids", full[:2], INT)
    graph.drop("inputs_embeds")
    at = graph.after("Equal", "input_ids", graph.constant(IMAGE))
    at = graph.after("Transpose", graph.after("NonZero", at), perm=[1, 0])

    def put(features, into):
        features = graph.after("Cast", features, _to=FLOAT)
        return graph.after("ScatterND", into, at, features)

    def zeros():
        return graph.after("Mul", "inputs_embeds", graph.constant(0, np.float32))

    image = graph.takes("image_features", kind, ["num_rows", HIDDEN])
    fused = put(image, "inputs_embeds")
    if deepstack == "stacked":
        _fuse_stacked(graph, put, zeros, full, kind)
    elif deepstack:
        _fuse_indexed(graph, put, zeros, full, kind, packed=deepstack == "packed")
    # The table's own output makes way for the fused one.
    for node in (*graph.graph.node, *graph.back):
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == "inputs_embeds":
                    names[index] = "table"
    graph.after("Cast", fused, to="inputs_embeds", _to=kind)
    graph.gives("inputs_embeds", kind, full)
    graph.save(path)


def _fuse_stacked(graph, put, zeros, full, kind):
    layers = graph.takes("deepstack_features", kind, [DEEP, "num_rows", HIDDEN])
    each = [graph.after("Gather", layers, graph.constant(layer), axis=0) for layer in range(DEEP)]
    one = graph.constant([0])
    spread = [graph.after("Unsqueeze", put(layer, zeros()), one) for layer in each]
    joined = graph.after("Concat", *spread, axis=0)
    graph.after("Cast", joined, to="deepstack_embeds", _to=kind)
    graph.gives("deepstack_embeds", kind, [DEEP, *full])


def _fuse_indexed(graph, put, zeros, full, kind, *, packed):
    each = [
        graph.takes(f"deepstack_features_{layer}", kind, ["num_rows", HIDDEN])
        for layer in range(DEEP)
    ]
    spread = [put(layer, zeros()) for layer in each]
    if packed:
        joined = graph.after("Concat", *spread, axis=2)
        graph.after("Cast", joined, to="per_layer_inputs", _to=kind)
        graph.gives("per_layer_inputs", kind, [*full[:2], DEEP * HIDDEN])
        return
    for layer, value in enumerate(spread):
        graph.after("Cast", value, to=f"deepstack_{layer}", _to=kind)
        graph.gives(f"deepstack_{layer}", kind, full)


# The decoder

PASTS = {
    "usual": ("past_key_values.{}.{}", "present.{}.{}"),
    "short": ("past_{1}_{0}", "present_{1}_{0}"),
    "odd": ("kv_{}_in_{}", "kv_{}_out_{}"),
}


def decoder(
    path,
    *,
    growing=False,
    pasts="usual",
    sizes=True,
    logits="index",
    branch=False,
    deepstack="stacked",
    positions=3,
    ids=False,
    kind=FLOAT,
):
    """pasts: how past and present are called. sizes: whether the graph knows their head size.

    logits: "index" for those of `logit_index`, "all", or "keep" for `num_logits_to_keep`.
    deepstack: "stacked", "indexed" ("deepstack_0"), "named" ("deepstack_embeds_0"), "packed" or
    None. ids: `input_ids` in place of embeddings. positions: axes of `position_ids`.
    """
    graph = Graph("decoder")
    full = ["batch_size", "sequence_length", HIDDEN]
    if ids:
        table = onnx.load(SKETCH / "embeddings.onnx").graph
        graph.drop("inputs_embeds")
        graph.takes("input_ids", INT, full[:2])
        graph.graph.initializer.extend(table.initializer)
        for node in table.node:
            node.name = f"table.{node.name}"
            graph.front.append(node)
    else:
        graph.renamed("inputs_embeds", "inputs_embeds", full, kind)
    _positions(graph, positions)
    _deepstack(graph, deepstack, full, kind)
    _logits(graph, logits, "input_ids" if ids else "inputs_embeds", kind)
    graph.drop("attention_mask")
    graph.takes("attention_mask", INT, ["batch_size", "total_sequence_length"])
    past, present = PASTS[pasts]
    for layer in range(LAYERS):
        for part in ("key", "value"):
            lengths = ("past_sequence_length", "total_sequence_length")
            old = [name.format(layer, part) for name in PASTS["usual"]]
            new = [name.format(layer, part) for name in (past, present)]
            for before, after, length in zip(old, new, lengths, strict=True):
                shape = ["batch_size", HEADS, length, HEAD if sizes else "kv_cache_dim"]
                if growing:
                    graph.renamed(before, after, shape, kind)
                    continue
                reads = any(port.name == before for port in graph.graph.input)
                graph.drop(before)
                (graph.takes if reads else graph.gives)(before, FLOAT, shape)
    if branch:
        _branch(graph, past.format(0, "key"))
    graph.save(path)


def _positions(graph, axes):
    graph.drop("position_ids")
    if axes == 3:
        graph.takes("position_ids", INT, [3, "batch_size", "sequence_length"])
        return
    flat = graph.takes("positions", INT, ["batch_size", "sequence_length"])
    flat = graph.before("Unsqueeze", flat, graph.constant([0]))
    graph.before("Expand", flat, graph.constant([3, 1, 1]), to="position_ids")
    # The input is called as the inner value was.
    graph.drop("positions")
    for node in (*graph.graph.node, *graph.front):
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                changed = {"position_ids": "positions_3d", "positions": "position_ids"}
                names[index] = changed.get(name, name)
    graph.takes("position_ids", INT, ["batch_size", "sequence_length"])


def _deepstack(graph, form, full, kind):
    graph.drop("deepstack_embeds")
    if form == "stacked":
        graph.takes("deepstack_embeds", FLOAT, [DEEP, "B", "S", HIDDEN])
        graph.renamed("deepstack_embeds", "deepstack_embeds", [DEEP, *full], kind)
        return
    if form is None:
        shape = graph.constant([DEEP, 1, 1, HIDDEN])
        graph.before("ConstantOfShape", shape, to="deepstack_embeds")
        return
    if form == "packed":
        packed = graph.takes("per_layer_inputs", kind, [*full[:2], DEEP * HIDDEN])
        ends = [graph.constant([layer * HIDDEN]) for layer in range(DEEP + 1)]
        axis = graph.constant([2])
        layers = [
            graph.before("Slice", packed, ends[layer], ends[layer + 1], axis)
            for layer in range(DEEP)
        ]
    else:
        prefix = {"indexed": "deepstack", "named": "deepstack_embeds"}[form]
        layers = [graph.takes(f"{prefix}_{layer}", kind, full) for layer in range(DEEP)]
    single = [
        graph.before("Unsqueeze", graph.before("Cast", layer, _to=FLOAT), graph.constant([0]))
        for layer in layers
    ]
    graph.before("Concat", *single, to="deepstack_embeds", axis=0)


def _logits(graph, form, tokens, kind):
    if form != "index":
        graph.drop("logit_index")
        count = graph.before("Gather", graph.before("Shape", tokens), graph.constant(1))
        first = graph.constant(0)
        if form == "keep":
            keep = graph.takes("num_logits_to_keep", INT, [])
            everything = graph.before("Equal", keep, graph.constant(0))
            keep = graph.before("Where", everything, count, keep)
            first = graph.before("Sub", count, keep)
        rows = graph.before("Range", first, count, graph.constant(1))
        graph.before("Unsqueeze", rows, graph.constant([0]), to="logit_index")
    rows = {"index": "R", "all": "sequence_length", "keep": "num_logits_to_keep"}[form]
    graph.renamed("logits", "logits", ["batch_size", rows, VOCABULARY], kind)


def _branch(graph, past):
    """Logits are NaN unless `use_cache_branch` is true exactly where there is a past."""
    says = graph.takes("use_cache_branch", BOOL, [1])
    length = graph.before("Gather", graph.before("Shape", past), graph.constant([2]))
    has = graph.before("Greater", length, graph.constant([0]))
    right = graph.before("Equal", says, has)
    factor = graph.before(
        "Where", right, graph.constant([1], np.float32), graph.constant([np.nan], np.float32)
    )
    # `_logits` has put a cast behind the graph's own logits.
    cast = next(node for node in graph.back if node.output[0] == "logits")
    spoiled = helper.make_node("Mul", [cast.input[0], factor], ["spoiled_logits"])
    graph.back.insert(graph.back.index(cast), spoiled)
    cast.input[0] = "spoiled_logits"


# The folders


def files(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copy(SKETCH / name, folder / name)
    return folder


def community(folder, *, suffix="", kind=FLOAT):
    """As transformers.js has it: the host merges, everything is indexed, caches grow."""
    files(folder, HF_FILES)
    vision(
        folder / f"onnx/vision_encoder{suffix}.onnx",
        grid="grid_thw",
        deepstack="indexed",
        kind=kind,
    )
    embeddings(folder / f"onnx/embed_tokens{suffix}.onnx", kind=kind)
    decoder(
        folder / f"onnx/decoder_model_merged{suffix}.onnx",
        growing=True,
        logits="keep",
        branch=True,
        deepstack="named",
        kind=kind,
    )
    return folder


def mobius(folder, *, packed=False):
    """A folder per graph; the embedding graph fuses, DeepStack included."""
    files(folder, HF_FILES)
    vision(folder / "vision_encoder/model.onnx", deepstack="indexed" if packed else "stacked")
    form = "packed" if packed else "stacked"
    fusing(folder / "embedding/model.onnx", deepstack=form)
    decoder(folder / "decoder/model.onnx", growing=True, logits="all", deepstack=form)
    return folder


def genai(folder, *, deepstack=None, shared=True, pasts="usual", **model):
    """A flat folder, its ports and sizes in genai_config.json; no file of Hugging Face's."""
    files(folder, PROCESSOR_FILES)
    vision(folder / "vision.onnx", deepstack=deepstack)
    fusing(folder / "embedding.onnx", deepstack=deepstack)
    decoder(
        folder / "model.onnx",
        growing=not shared,
        sizes=False,
        logits="all",
        deepstack=deepstack,
        pasts=pasts,
    )
    past, present = (name.format("%d", "{}") for name in PASTS[pasts])
    config = {
        "model": {
            "type": "qwen3_vl",
            "context_length": 4096,
            "eos_token_id": CONFIG["text_config"].get("eos_token_id"),
            "image_token_id": IMAGE,
            "vocab_size": VOCABULARY,
            "vision": {
                "filename": "vision.onnx",
                "config_filename": "processor_config.json",
                "spatial_merge_size": 2,
                "inputs": {"pixel_values": "pixel_values", "image_grid_thw": "image_grid_thw"},
                "outputs": {"image_features": "image_features"},
            },
            "embedding": {
                "filename": "embedding.onnx",
                "inputs": {"input_ids": "input_ids", "image_features": "image_features"},
                "outputs": {"inputs_embeds": "inputs_embeds"},
            },
            "decoder": {
                "filename": "model.onnx",
                "head_size": HEAD,
                "num_key_value_heads": HEADS,
                "inputs": {
                    "inputs_embeds": "inputs_embeds",
                    "attention_mask": "attention_mask",
                    "position_ids": "position_ids",
                    "past_key_names": past.format("key"),
                    "past_value_names": past.format("value"),
                },
                "outputs": {
                    "logits": "logits",
                    "present_key_names": present.format("key"),
                    "present_value_names": present.format("value"),
                },
            },
            **model,
        },
        "search": {"do_sample": False, "top_k": 50, "past_present_share_buffer": shared},
    }
    write_json(folder / "genai_config.json", config)
    image = json.loads((SKETCH / "preprocessor_config.json").read_text(encoding="utf-8"))
    sizes = {name: image[name] for name in ("patch_size", "merge_size")}
    pixels = {
        "min_pixels": image["size"]["shortest_edge"],
        "max_pixels": image["size"]["longest_edge"],
    }
    normal = {"mean": image["image_mean"], "std": image["image_std"], "qwen2_5_vl": 1}
    steps = {
        "DecodeImage": {"color_space": "RGB"},
        "ConvertRGB": None,
        "Resize": {"width": 960, "height": 672, "smart_resize": 1, **pixels, **sizes},
        "Rescale": {"rescale_factor": 1 / 255},
        "Normalize": normal,
        "PatchImage": {**sizes, "temporal_patch_size": image["temporal_patch_size"]},
    }
    transforms = [
        {"operation": {"name": kind.lower(), "type": kind, **({"attrs": given} if given else {})}}
        for kind, given in steps.items()
    ]
    write_json(
        folder / "processor_config.json",
        {"processor": {"name": "qwen2_5_image_processor", "transforms": transforms}},
    )
    return folder


def text_only(folder):
    """One graph from ids to logits, as for a text model; positions are counted."""
    files(folder, [*PROCESSOR_FILES, "config.json", "generation_config.json"])
    decoder(
        folder / "model.onnx",
        growing=True,
        logits="all",
        deepstack=None,
        positions=2,
        ids=True,
        pasts="short",
    )
    return folder


def write_json(path: Path, value) -> None:
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")
