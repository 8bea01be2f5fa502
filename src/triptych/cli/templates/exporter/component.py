"""Export a model family of one's own: bigrams, a table and a head."""

import onnx_ir as ir
from triptych.export.builder import FLOAT, INT64, GraphBuilder
from triptych.export.graphs.embeddings import embeddings
from triptych.export.graphs.weights import Weights


class __CLASS__:
    """A token's row of the table, times the head, is the logits of the next token.

    The checkpoint has `model.table` and `model.head`, both [vocab_size, hidden_size].
    """

    # The pipeline: each stage's component, and its graph or its settings.
    stages = (
        ("embeddings", "embeddings.onnx"),
        ("decoder", "decoder.onnx"),
    )

    @classmethod
    def accepts(cls, config):
        """Whether a config.json is of this family."""
        return config.get("model_type") == "__NAME__"

    def __init__(self, checkpoint, precision):
        self.precision = precision
        shape = checkpoint.config["vocab_size"], checkpoint.config["hidden_size"]
        weights = Weights(checkpoint, "model")
        self.table = weights.get("table", *shape)
        self.head = weights.get("head", *shape)

    def graphs(self):
        """The graphs by file; weights are read when a graph is written."""
        yield "embeddings.onnx", embeddings(self.table, self.precision)
        yield "decoder.onnx", self._decoder()

    def _decoder(self) -> ir.Model:
        """`inputs_embeds` f32 [B, S, H], `logit_index` i64 [B, R] -> `logits` f32 [B, R, V]."""
        vocabulary, hidden = self.head.shape
        graph = GraphBuilder("decoder")
        embeds = graph.input("inputs_embeds", FLOAT, ["B", "S", hidden])
        wanted = graph.input("logit_index", INT64, ["B", "R"])
        places = graph.op("Unsqueeze", wanted, graph.constant([2]))
        rows = graph.op("GatherND", embeds, places, batch_dims=1)
        logits = self.precision.part("head").scores(graph, rows, self.head)
        graph.output("logits", logits, FLOAT, ["B", "R", vocabulary])
        return graph.model()

    @classmethod
    def reference(cls, folder, weights):
        """The same model run by something else; `triptych verify` compares with it."""
        raise NotImplementedError("see triptych.export.verification.reference")
