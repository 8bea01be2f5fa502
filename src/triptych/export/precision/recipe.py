"""A recipe: which weights are stored how. A small YAML file.

    format: 1
    default: {precision: int4, block: 64}
    vision: int8
    head: {precision: int4, symmetric: true}
    weights:
      "*.layers.0.*": int8
      "*.down_proj.weight": {block: 32}

A weight takes each setting from the last of these that has it: `default`, its part, the patterns
under `weights` that its name in the checkpoint matches, in the order of the file.

`prompts: int8` stores the decoder's weights once more, in rows, for prompts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from triptych.core.config.settings import Settings
from triptych.export.precision.blocks import BlockFormat
from triptych.export.precision.storage import Part

FORMAT = 1
"""The version of recipes that this release reads and writes."""

Stored = Literal["fp32", "fp16", "int8", "int4"]
BITS: Mapping[str, int] = {"int8": 8, "int4": 4}

DEFAULT_BLOCK = 32
# A block as long as a row of the weight.
ROW = "row"
DEFAULT_LEVEL = 4
# At this one, products are computed in float32.
FLOAT_LEVEL = 1
# Of 256 codes, the nearest is near enough.
DEFAULT_METHOD: Mapping[str, Literal["rtn", "hqq"]] = {"int8": "rtn", "int4": "hqq"}

# Looks at data, which only the decoder's linears are calibrated on; all else it leaves to `hqq`.
GPTQ = "gptq"
ROUTERS = "*.mlp.gate.weight"
"""The names of the weights that send tokens to experts. They stay float32 whatever a recipe says:
the experts that a token meets should not depend on how weights are stored."""
CALIBRATED: tuple[Part, ...] = ("attention", "mlp")
# Rows of these are looked up, or may be: they have blocks where a recipe says `row` of everything.
TABLES: tuple[Part, ...] = ("embeddings", "head")


class Choice(Settings):
    """What a recipe says of some weights. What is left out is said elsewhere, or by default.

    precision: the type that is stored. The others are for whole numbers. block: values that share
    a scale; `row`, for int8, is all inputs of an output, and then products are in whole numbers.
    symmetric: no zeros are stored, which saves a little and costs accuracy.
    accuracy_level: what products are computed in: 4 in int8, 1 in float32, 0 as ONNX Runtime
    likes. method: how codes are found; gptq needs prompts to calibrate on.
    """

    precision: Stored | None = None
    block: Literal[32, 64, 128, "row"] | None = None
    symmetric: bool | None = None
    accuracy_level: Literal[0, 1, 4] | None = None
    method: Literal["rtn", "hqq", "gptq"] | None = None

    @model_validator(mode="after")
    def _no_blocks_of_floats(self) -> Self:
        given = [name for name in self.model_fields_set if name != "precision"]
        if self.precision in ("fp32", "fp16") and given:
            raise ValueError(
                f"{self.precision} has no {' and no '.join(sorted(given))}: "
                f"those are for {' and '.join(BITS)}"
            )
        if self.block == ROW:
            self._as_rows_are()
        return self

    def _as_rows_are(self) -> None:
        if self.precision == "int4":
            raise ValueError("int4 has no block of a whole row: that is for int8")
        if given := sorted(self.model_fields_set & {"symmetric", "accuracy_level", "method"}):
            raise ValueError(
                f"rows have no {' and no '.join(given)}: they are symmetric, multiplied in whole "
                f"numbers and rounded to nearest"
            )

    def said(self) -> dict[str, Any]:
        """The settings that are given."""
        return self.model_dump(exclude_none=True)


def _named(value: Any) -> Any:
    """`int8` is short for `{precision: int8}`."""
    return {"precision": value} if isinstance(value, str) else value


Said = Annotated[Choice, BeforeValidator(_named)]


@dataclass(frozen=True)
class Scheme:
    """How one weight is stored, everything decided.

    format, accuracy_level and method count where `precision` is a whole number. in_rows: products
    take each row of the weight with one scale; `format` is then for all else.
    """

    precision: Stored
    format: BlockFormat
    accuracy_level: int
    method: str
    in_rows: bool = False


def _decided(choice: Choice) -> Choice:
    if choice.precision is None:
        raise ValueError("there is no precision to start with: add one, as in 'precision: int4'")
    return choice


class Recipe(Settings):
    """Which weights are stored how; see the head of this file."""

    default: Annotated[Said, AfterValidator(_decided)] = Choice(precision="fp32")
    vision: Said = Choice()
    embeddings: Said = Choice()
    attention: Said = Choice()
    mlp: Said = Choice()
    head: Said = Choice()
    prompts: Literal["int8"] | None = None
    weights: dict[Annotated[str, Field(min_length=1)], Said] = Field(default_factory=dict)

    def scheme(self, part: Part, name: str) -> Scheme:
        """How the weight of that name is stored in a part of a model; ROUTERS stay float32."""
        if fnmatchcase(name, ROUTERS):
            return Scheme("fp32", BlockFormat(max(BITS.values()), DEFAULT_BLOCK), DEFAULT_LEVEL, "")
        of_part: Choice = getattr(self, part)
        matching = [said for pattern, said in self.weights.items() if fnmatchcase(name, pattern)]
        found: dict[str, Any] = {}
        for choice in (self.default, of_part, *matching):
            found |= choice.said()
        precision: Stored = found["precision"]
        method = found.get("method", DEFAULT_METHOD.get(precision, ""))
        if method == GPTQ and (part not in CALIBRATED or precision not in BITS):
            method = "hqq"
        block = found.get("block", DEFAULT_BLOCK)
        in_rows = block == ROW and precision == "int8" and part not in TABLES
        return Scheme(
            precision,
            BlockFormat(
                BITS.get(precision, 0),
                DEFAULT_BLOCK if block == ROW else block,
                symmetric=found.get("symmetric", False),
            ),
            found.get("accuracy_level", DEFAULT_LEVEL),
            "rtn" if in_rows else method,
            in_rows,
        )

    @property
    def precisions(self) -> set[Stored]:
        """All that it names."""
        return {said.precision for said in self._choices() if said.precision}

    @property
    def calibrated(self) -> bool:
        """Whether it asks for a method that needs data."""
        return any(said.method == GPTQ for said in self._choices())

    @property
    def rounds_products(self) -> bool:
        """Whether some products are computed in less than float32."""
        levels: set[int] = {
            said.accuracy_level for said in self._choices() if said.accuracy_level is not None
        }
        if self.default.accuracy_level is None:
            levels.add(DEFAULT_LEVEL)
        in_rows = any(said.block == ROW for said in self._choices())
        return not self.precisions.isdisjoint(BITS) and (in_rows or levels != {FLOAT_LEVEL})

    def _choices(self) -> list[Choice]:
        parts: list[Choice] = [getattr(self, name) for name in ("default", *get_args(Part))]
        return [*parts, *self.weights.values()]

    def unmatched(self, names: Iterable[str]) -> list[str]:
        """The patterns that no name matches."""
        known = list(names)
        return [
            pattern
            for pattern in self.weights
            if not any(fnmatchcase(name, pattern) for name in known)
        ]

    def plain(self) -> dict[str, Any]:
        """What a file would hold."""
        said = {name: getattr(self, name).said() for name in ("default", *get_args(Part))}
        kept: dict[str, Any] = {name: choice for name, choice in said.items() if choice}
        weights = {pattern: choice.said() for pattern, choice in self.weights.items()}
        if self.prompts:
            kept["prompts"] = self.prompts
        return {"format": FORMAT, **kept, **({"weights": weights} if weights else {})}
