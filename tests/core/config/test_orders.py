"""Sampling settings in another program's order."""

import pytest

from triptych.core.config.nodes import node_of
from triptych.core.config.orders import ORDERS, OTHER_NAMES, parse_chain
from triptych.core.config_error import ConfigError, Where
from triptych.plugins.samplers.manifest import samplers


def names(section):
    return [item.name for item in parse_chain(node_of(section, Where("here", path="sampler")))]


def test_a_list_keeps_its_own_order():
    assert names([{"top_p": 0.9}, {"temperature": 2}, "draw"]) == ["top_p", "temperature", "draw"]


def test_the_order_is_the_programs_and_not_that_of_the_keys():
    section = {"top_p": 0.9, "min_p": 0.1, "temperature": 2}
    hugging_face = ["temperature", "top_p", "min_p", "draw"]
    assert names({"order": "huggingface", **section}) == hugging_face
    llama_cpp = ["top_p", "min_p", "temperature", "draw"]
    assert names({"order": "llamacpp", **section}) == llama_cpp


def test_greedy_is_the_chooser_where_it_is_named():
    section = {"greedy": None, "order": "huggingface", "repetition_penalty": 1.2}
    assert names(section) == ["repetition_penalty", "greedy"]


def test_every_name_is_one_of_ours():
    ours = {component.name for component in samplers()}
    assert {name for order in ORDERS.values() for name in order} <= ours
    assert set(OTHER_NAMES.values()) <= ours


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"top_p": 0.9}, "add 'order: huggingface | llamacpp'"),
        ({"order": "hugingface"}, "huggingface"),
        ({"order": "huggingface", "xtc": 0.5}, "no place for 'xtc'"),
        ({"order": "huggingface", "acme/mine": 0.5}, "write the steps as a list"),
        ({"order": "huggingface", "typical_p": 0.5}, "called 'typical' here"),
        ({"order": "llamacpp", "top_q": 0.5}, "top_k|top_p"),
    ],
)
def test_what_is_refused(section, message):
    with pytest.raises(ConfigError, match=message):
        names(section)


SETTINGS = {
    "sequence_bias": ("logit_bias", {(5,): 2.0}),
    "repetition_penalty": ("repetition_penalty", 1.2),
    "no_repeat_ngram_size": ("no_repeat_ngram", 2),
    "bad_words_ids": ("bad_words", [[7]]),
    "min_new_tokens": ("min_new_tokens", 4),
    "exponential_decay_length_penalty": ("exponential_decay_length", (3, 1.1)),
    "temperature": ("temperature", 0.8),
    "top_h": ("top_h", 0.9),
    "top_k": ("top_k", 30),
    "top_p": ("top_p", 0.9),
    "min_p": ("min_p", 0.05),
    "typical_p": ("typical", 0.9),
    "epsilon_cutoff": ("epsilon", 0.01),
    "eta_cutoff": ("eta", 0.01),
}
"""transformers' keys, our steps, and a value that makes transformers add its own."""
CLASSES = {
    "SequenceBias": "logit_bias",
    "RepetitionPenalty": "repetition_penalty",
    "NoRepeatNGram": "no_repeat_ngram",
    "NoBadWords": "bad_words",
    "MinNewTokens": "min_new_tokens",
    "ExponentialDecay": "exponential_decay_length",
    "Temperature": "temperature",
    "TopH": "top_h",
    "TopK": "top_k",
    "TopP": "top_p",
    "MinP": "min_p",
    "Typical": "typical",
    "Epsilon": "epsilon",
    "Eta": "eta",
}


def test_hugging_faces_order_is_that_of_transformers():
    torch = pytest.importorskip("torch")
    from transformers import GenerationConfig, GenerationMixin, PretrainedConfig

    config = GenerationConfig(
        do_sample=True, eos_token_id=3, **{key: value for key, (_, value) in SETTINGS.items()}
    )
    config._eos_token_tensor = torch.tensor([3])
    model = GenerationMixin()
    model.config = PretrainedConfig()
    made = model._get_logits_processor(config, input_ids_seq_length=1, device="cpu")
    theirs = [
        next(ours for start, ours in CLASSES.items() if type(one).__name__.startswith(start))
        for one in made
    ]
    assert len(theirs) == len(SETTINGS)
    assert theirs == [name for name in ORDERS["huggingface"] if name in theirs]
