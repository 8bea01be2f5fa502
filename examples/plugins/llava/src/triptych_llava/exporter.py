"""Exports LLaVA-1.5 checkpoints."""

from triptych.export.graphs.decoder import decoder
from triptych.export.graphs.embeddings import embeddings
from triptych.export.graphs.weights import Weights
from triptych_llava.config import read_config
from triptych_llava.vision import vision_encoder


class LlavaExporter:
    """LLaVA-1.5, with a Llama."""

    processor = "llava/clip"
    stages = (
        ("vision_encoder", "vision_encoder.onnx"),
        ("llava/count", None),
        ("embeddings", "embeddings.onnx"),
        ("merge", {"deepstack": False}),
        ("decoder", "decoder.onnx"),
    )

    @classmethod
    def accepts(cls, config):
        """By the model_type."""
        return config.get("model_type") == "llava"

    @classmethod
    def reference(cls, folder, weights):
        """The checkpoint in transformers, for `triptych verify`."""
        from triptych_llava.reference import LlavaReference

        return LlavaReference(folder, weights)

    def __init__(self, checkpoint, precision):
        self.precision = precision
        place = str(checkpoint.folder / "config.json")
        self.tower, self.text = read_config(checkpoint.config, place)
        # As published, or as transformers 5 saves it.
        published = "vision_tower.vision_model.pre_layrnorm.weight" in checkpoint
        name = "vision_tower.vision_model" if published else "vision_tower"
        self.clip = Weights(checkpoint, name)
        self.projector = Weights(checkpoint, "multi_modal_projector")
        self.language = Weights(checkpoint, "language_model.model")
        size = self.text.vocabulary, self.text.hidden
        self.table = self.language.get("embed_tokens.weight", *size)
        self.head = checkpoint.weight("language_model.lm_head.weight", size)

    def graphs(self):
        """The vision encoder, the embeddings, the decoder."""
        hidden, precision = self.text.hidden, self.precision
        encoder = vision_encoder(self.tower, self.clip, self.projector, hidden, precision)
        yield "vision_encoder.onnx", encoder
        yield "embeddings.onnx", embeddings(self.table, precision)
        yield "decoder.onnx", decoder(self.text, self.language, self.head, precision)
