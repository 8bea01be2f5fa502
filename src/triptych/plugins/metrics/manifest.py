"""What this plugin offers; nothing here is imported before its first use."""

from __future__ import annotations

from triptych.core.components.component import Component
from triptych.core.components.hookspecs import hookimpl

_HERE = "triptych.plugins.metrics"


@hookimpl
def metrics() -> list[Component]:
    """Those of the answer's text first, then of likelihoods, then of what it cost."""
    return [
        Component(
            "exact_match",
            f"{_HERE}.exact_match:ExactMatch",
            "Whether the answer is the reference, to the letter.",
        ),
        Component(
            "normalized_match",
            f"{_HERE}.normalized_match:NormalizedMatch",
            "The same but for capitals, punctuation and articles, and F1 of words, as in SQuAD.",
        ),
        Component(
            "vqa_accuracy",
            f"{_HERE}.vqa_accuracy:VQAAccuracy",
            "Agreement with what several people answered, as in VQA v2.",
        ),
        Component(
            "anls",
            f"{_HERE}.anls:ANLS",
            "Similarity by edit distance, as in DocVQA.",
            main="threshold",
        ),
        Component("chrf", f"{_HERE}.overlap:ChrF", "Shared n-grams of letters, by sacrebleu."),
        Component(
            "bleu",
            f"{_HERE}.overlap:BLEU",
            "Shared n-grams of words, by sacrebleu.",
            main="tokenize",
        ),
        Component(
            "json_fields",
            f"{_HERE}.json_fields:JSONFields",
            "F1 of the fields of a JSON document.",
            main="lists",
        ),
        Component(
            "perplexity",
            f"{_HERE}.perplexity:Perplexity",
            "How likely the reference is, per token.",
        ),
        Component(
            "kl_to_base",
            f"{_HERE}.divergence:KLToBase",
            "How far next-token distributions are from the base arm's.",
        ),
        Component(
            "top1_agreement",
            f"{_HERE}.divergence:Top1Agreement",
            "How often the likeliest next token is the base arm's.",
        ),
        Component(
            "tokens_per_second",
            f"{_HERE}.speed:TokensPerSecond",
            "Speed of a whole answer, and the seconds that it took.",
        ),
        Component(
            "time_to_first_token",
            f"{_HERE}.speed:TimeToFirstToken",
            "Seconds up to the first token.",
        ),
        Component(
            "peak_memory",
            f"{_HERE}.peak_memory:PeakMemory",
            "The most memory that the process had, in MiB.",
        ),
        Component(
            "visual_tokens",
            f"{_HERE}.visual_tokens:VisualTokens",
            "How many visual tokens reducers left.",
        ),
    ]
