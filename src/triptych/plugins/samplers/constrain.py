"""Replies of a given form: a JSON Schema, a regular expression, a grammar, or choices."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from triptych.core.config import settings as core
from triptych.core.errors import InputError
from triptych.core.sampling import Candidates, Context, Vocabulary
from triptych.core.sampling.candidates import Mask
from triptych.plugins.samplers.form_faults import explained
from triptych.plugins.samplers.grammar_tokens import grammar_tokens

if TYPE_CHECKING:
    from llguidance import LLMatcher

FORMS = ("json_schema", "regex", "lark", "choices")

GAP = r"( |\n {0,40})"
"""White space between the signs of JSON: room for every usual layout, and none to get lost in."""

_LARGEST = 200_000
"""Characters of a form: what is within takes a second at most to compile."""


class ConstraintError(InputError):
    """A form that cannot be understood, that costs too much, or that nothing fits."""


class Constrain:
    """Keeps the tokens with which the reply can still take the form (by llguidance).

    Where the form is complete the EOS tokens are kept, and nothing else once it cannot go on.
    A reply that ends for want of room (``max_new_tokens``) is a beginning of the form only.
    Write it before warps that drop tokens, so that they choose among what fits.

    The form costs a bounded time and memory; what would take more is refused, as is a schema that
    refers to a file or an address. Raises ConstraintError.
    """

    class Settings(core.Settings):
        """One of the four, and only one.

        json_schema: JSON of this schema. regex: what all of the reply matches (Rust's syntax).
        lark: a grammar in the syntax of Lark, as llguidance takes it. choices: one of these texts.
        """

        model_config = ConfigDict(json_schema_extra={"examples": [{"choices": ["yes", "no"]}]})

        json_schema: dict[str, Any] | bool | None = None
        regex: str | None = None
        lark: str | None = None
        choices: Annotated[list[str], Field(min_length=1)] | None = None

        @model_validator(mode="after")
        def _one_of_them(self) -> Self:
            if sum(getattr(self, form) is not None for form in FORMS) != 1:
                raise PydanticCustomError("forms", f"give one of {', '.join(FORMS)}")
            return self

    keeps_winner = False

    def __init__(self, settings: Settings) -> None:
        self.grammar = _grammar(settings)
        self._form = form_of(settings)
        self._matcher: LLMatcher | None = None
        self._allowed: Mask | None = None

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Compile the form for these tokens."""
        from llguidance import LLMatcher

        self._matcher = LLMatcher(grammar_tokens(vocabulary), self.grammar, log_level=0)
        self._check()

    def __call__(self, candidates: Candidates, context: Context) -> Candidates:
        """Those that fit."""
        if self._allowed is None:
            bits = np.frombuffer(self._prepared.compute_bitmask(), np.uint8)
            self._check()
            self._allowed = np.unpackbits(bits, bitorder="little").view(np.bool_)
        missing = int(candidates.ids[-1]) + 1 - len(self._allowed)
        if missing > 0:
            # Ids beyond the tokenizer's are padding of the model's table.
            self._allowed = np.pad(self._allowed, (0, missing))
        mask = self._allowed[candidates.ids]
        if not mask.any():
            raise ConstraintError(
                "constrain: no token that is left fits the form; write it before the steps that "
                "drop tokens, such as top_k"
            )
        return candidates.keep(mask)

    def accept(self, token: int, candidates: Candidates) -> None:
        """Go on after `token`."""
        self._prepared.consume_token(token)
        self._check()
        self._allowed = None

    def fork(self) -> Constrain:
        """A copy that goes on by itself."""
        fork = copy.copy(self)
        fork._matcher = self._prepared.deep_copy()  # noqa: SLF001 - it is ours
        return fork

    @property
    def _prepared(self) -> LLMatcher:
        if self._matcher is None:
            raise ConstraintError("constrain: it was not prepared with a vocabulary")
        return self._matcher

    def _check(self) -> None:
        if self._prepared.is_error():
            cause = explained(self._form, self._prepared.get_error())
            raise ConstraintError(f"constrain: {cause}")


def _grammar(settings: Constrain.Settings) -> str:
    """The form in llguidance's own notation."""
    matcher = _library().LLMatcher
    grammar: str
    if settings.regex is not None:
        grammar = matcher.grammar_from_regex(settings.regex)
    elif settings.lark is not None:
        grammar = matcher.grammar_from_lark(settings.lark)
    elif settings.choices is not None:
        texts = " | ".join(json.dumps(text) for text in settings.choices)
        grammar = matcher.grammar_from_lark(f"start: {texts}")
    else:
        try:
            schema = json.dumps(settings.json_schema)
            grammar = matcher.grammar_from_json_schema(
                schema, overrides={"whitespace_pattern": GAP}
            )
        except (RecursionError, ValueError) as error:
            raise ConstraintError(explained("json_schema", str(error))) from None
    if len(grammar) > _LARGEST:
        raise ConstraintError(
            f"the form has {len(grammar):,} characters; {_LARGEST:,} are taken at most"
        )
    refused, faults = matcher.validate_grammar_with_warnings(grammar)
    if refused:
        raise ConstraintError(explained(form_of(settings), faults[0]))
    return grammar


def _library() -> Any:
    try:
        import llguidance
    except ModuleNotFoundError as error:
        raise ConstraintError(
            "constrain needs the package llguidance: pip install 'triptych[constrain]'"
        ) from error
    return llguidance


def form_of(settings: Constrain.Settings) -> str:
    """Which of the forms was given."""
    return next(form for form in FORMS if getattr(settings, form) is not None)
