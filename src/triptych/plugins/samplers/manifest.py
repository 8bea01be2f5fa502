"""What this plugin offers; nothing here is imported before its first use."""

from __future__ import annotations

from triptych.core.components.component import Component
from triptych.core.components.hookspecs import hookimpl

_HERE = "triptych.plugins.samplers"


def _warp(name: str, target: str, summary: str, main: str | None) -> Component:
    return Component(name, f"{_HERE}.{target}", summary, main=main, role="warp")


@hookimpl
def samplers() -> list[Component]:
    """Warps and choosers: the default chain's first, in its order."""
    return [
        _warp(
            "temperature",
            "temperature:Temperature",
            "Divides logits: below 1 sharper, above 1 flatter.",
            "temperature",
        ),
        _warp("top_k", "top_k:TopK", "Keeps the k most likely tokens.", "k"),
        _warp(
            "top_p",
            "top_p:TopP",
            "Keeps the fewest most likely tokens that hold p of the probability.",
            "p",
        ),
        Component(
            "draw", f"{_HERE}.draw:Draw", "Chooses at random, by probability.", role="choose"
        ),
        Component(
            "greedy", f"{_HERE}.greedy:Greedy", "Chooses the most likely token.", role="choose"
        ),
        *_truncations(),
        *_penalties(),
        *_rules(),
    ]


def _truncations() -> list[Component]:
    """Warps that drop tokens by their probabilities, and other temperatures."""
    return [
        _warp("min_p", "min_p:MinP", "Keeps tokens with p times the winner's probability.", "p"),
        _warp(
            "typical",
            "typical:Typical",
            "Keeps the tokens whose surprise is nearest to the entropy.",
            "mass",
        ),
        _warp(
            "epsilon", "epsilon:Epsilon", "Keeps the tokens above a fixed probability.", "epsilon"
        ),
        _warp(
            "eta",
            "eta:Eta",
            "Keeps the tokens above a probability that sinks with the entropy.",
            "epsilon",
        ),
        _warp(
            "top_n_sigma",
            "top_n_sigma:TopNSigma",
            "Keeps the logits within n standard deviations of the largest.",
            "n",
        ),
        _warp("top_h", "top_h:TopH", "Keeps the likeliest tokens that hold h of the entropy.", "h"),
        _warp(
            "xtc",
            "xtc:XTC",
            "Now and then drops all top choices but the least likely one.",
            "probability",
        ),
        _warp("mirostat", "mirostat:Mirostat", "Keeps the surprise per token near tau.", "tau"),
        _warp(
            "dynamic_temperature",
            "dynamic_temperature:DynamicTemperature",
            "A temperature between two, by the entropy.",
            None,
        ),
    ]


def _penalties() -> list[Component]:
    """Warps that make repetition rarer."""
    return [
        _warp(
            "repetition_penalty",
            "repetition_penalty:RepetitionPenalty",
            "Divides the logits of tokens that were there before.",
            "penalty",
        ),
        _warp(
            "presence_penalty",
            "reply_penalty:PresencePenalty",
            "Takes the penalty from the logit of each token that the reply has.",
            "penalty",
        ),
        _warp(
            "frequency_penalty",
            "reply_penalty:FrequencyPenalty",
            "Takes the penalty as often as the reply has the token.",
            "penalty",
        ),
        _warp(
            "no_repeat_ngram",
            "no_repeat_ngram:NoRepeatNGram",
            "Never the same run of so many tokens twice.",
            "size",
        ),
        _warp(
            "dry",
            "dry:Dry",
            "The longer a run repeats, the rarer its next token.",
            "multiplier",
        ),
    ]


def _rules() -> list[Component]:
    """Warps about particular tokens."""
    return [
        _warp("logit_bias", "logit_bias:LogitBias", "Makes texts likelier or rarer.", "bias"),
        _warp(
            "constrain",
            "constrain:Constrain",
            "The reply takes a form: JSON Schema, regular expression, grammar, choices.",
            None,
        ),
        _warp("bad_words", "bad_words:BadWords", "Texts that are not to be said.", "words"),
        _warp(
            "min_new_tokens", "length:MinNewTokens", "No end before so many new tokens.", "count"
        ),
        _warp(
            "exponential_decay_length",
            "length:ExponentialDecayLength",
            "Makes the end likelier with each token after some.",
            None,
        ),
    ]
