"""Exporters that break one promise each, made of the example that `new-plugin` writes."""

import json

import numpy as np
from safetensors.numpy import save_file

from triptych.cli.plugin_files import Names, filled
from triptych.testing import Subject, write_byte_tokenizer

NAMES = Names("exporter", "acme", "bigram")
HIDDEN = 8


def example():
    """The class of the template."""
    namespace = {"__name__": __name__}
    exec(filled("exporter", "component.py", NAMES), namespace)
    return namespace["Bigram"]


Bigram = example()


def checkpoint(folder):
    """A folder of that family, with random weights."""
    vocabulary = write_byte_tokenizer(folder)
    config = {"model_type": "bigram", "vocab_size": vocabulary, "hidden_size": HIDDEN}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    random = np.random.default_rng(0)
    names = ("model.table", "model.head")
    weights = {name: random.standard_normal((vocabulary, HIDDEN), np.float32) for name in names}
    save_file(weights, folder / "model.safetensors")
    return folder


class ListsItsStages(Bigram):
    stages = (["embeddings", "embeddings.onnx"], Bigram.stages[1])


class TakesAll(Bigram):
    @classmethod
    def accepts(cls, config):
        return True


class OneMore(Bigram):
    def graphs(self):
        yield from super().graphs()
        yield "spare.onnx", self._decoder()


class Notes(Bigram):
    @classmethod
    def accepts(cls, config):
        config["seen"] = True
        return super().accepts(config)


class Random(Bigram):
    def graphs(self):
        for name, graph in super().graphs():
            graph.producer_version = str(np.random.default_rng().random())
            yield name, graph


class NoDecoder(Bigram):
    stages = (
        ("embeddings", "embeddings.onnx"),
        ("onnx", {"graph": "decoder.onnx", "when": "span"}),
    )

    def _decoder(self):
        model = super()._decoder()
        model.graph.outputs[0].name = "scores"
        return model


def broken(folder):
    """Promise and subject, over a checkpoint in `folder`."""
    places = [checkpoint(folder)]
    return [
        ("sound_declaration", Subject("exporter", ListsItsStages, {}, places)),
        ("accepts_its_own", Subject("exporter", TakesAll, {}, places)),
        ("graphs_are_stages", Subject("exporter", OneMore, {}, places)),
        ("inputs_unchanged", Subject("exporter", Notes, {}, places)),
        ("determinism_by_seed", Subject("exporter", Random, {}, places)),
        ("wiring_holds", Subject("exporter", NoDecoder, {}, places)),
    ]
