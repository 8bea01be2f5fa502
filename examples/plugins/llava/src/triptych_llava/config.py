"""What of a LLaVA `config.json` the graphs depend on; what is not covered is refused by name."""

from dataclasses import dataclass

from triptych.export.graphs.rotary_plan import rotary_plan
from triptych.export.graphs.shape import DecoderShape, head_size, read_shape
from triptych.export.section import Section

TOWER = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 32,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}
TEXT = {
    "model_type": "llama",
    "vocab_size": 32_000,
    "hidden_size": 4096,
    "intermediate_size": 11_008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
}
"""transformers' defaults. Published configs leave out what equals them."""


@dataclass(frozen=True)
class Tower:
    """CLIP's vision tower. depth: the layers up to the one whose features are taken."""

    depth: int
    hidden: int
    heads: int
    intermediate: int
    epsilon: float
    channels: int
    side: int
    patch: int

    @property
    def patches(self):
        """Patches per side."""
        return self.side // self.patch


def read_config(config, place):
    """The tower and the decoder's shape. Raises ModelConfigError."""
    whole = Section(config, place).with_defaults(
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        projector_hidden_act="gelu",
        multimodal_projector_bias=True,
    )
    for key, wanted in {
        "vision_feature_select_strategy": "default",
        "projector_hidden_act": "gelu",
        "multimodal_projector_bias": True,
    }.items():
        if whole.values[key] != wanted:
            whole.refuse(key, f"there is {wanted}")
    return _tower(Section(config, place, name="vision_config"), whole), _text(config, place)


def _tower(section, whole):
    if section.values.get("model_type") != "clip_vision_model":
        section.refuse("model_type", "there is clip_vision_model")
    section = section.with_defaults(**TOWER)
    if section.values["hidden_act"] != "quick_gelu":
        section.refuse("hidden_act", "there is quick_gelu")
    layers, last = section.count("num_hidden_layers"), whole.values["vision_feature_layer"]
    if not isinstance(last, int) or not -layers - 1 <= last <= layers:
        whole.refuse("vision_feature_layer", f"a number of one of {layers} layers")
    return Tower(
        depth=last if last >= 0 else layers + 1 + last,
        hidden=section.count("hidden_size"),
        heads=section.count("num_attention_heads"),
        intermediate=section.count("intermediate_size"),
        epsilon=float(section.values["layer_norm_eps"]),
        channels=section.count("num_channels"),
        side=section.count("image_size"),
        patch=section.count("patch_size"),
    )


def _text(config, place) -> DecoderShape:
    section = Section(config, place, name="text_config").with_defaults(**TEXT)
    if section.values["model_type"] != "llama":
        section.refuse("model_type", "there is llama")
    biased = section.flag("attention_bias")
    return read_shape(
        section,
        rotary_plan(section, head_size(section), theta=10_000.0),
        qkv_bias=biased,
        out_bias=biased,
        mlp_bias=section.flag("mlp_bias"),
    )
