"""Jinja for templates that came with a model: sandboxed, and with an end.

Jinja's sandbox keeps a template away from Python. It does not keep one from running forever
or from filling the memory, so each rendering has a meter here: loops, calls, time and the
sizes of all texts that it builds are counted, and going over is an error.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from threading import local
from typing import Any, NoReturn

import jinja2
from jinja2 import filters, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import EvalContext
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

STEPS = 1_000_000
"""Rounds of loops and calls in one rendering."""
SECONDS = 10.0
"""Time of one rendering, which takes milliseconds."""
CHARACTERS = 64_000_000
"""Characters of all texts that one rendering builds, together; a list's item counts as eight."""
OUTPUT = 16_000_000
"""Characters of the rendered text."""
BITS = 4096
"""Size of the largest number."""

WIDE_PERCENT = re.compile(r"%[^a-zA-Z%]*(\d{5}|\*)")
"""A width (``%99999d``, ``%*d``) that builds text from nothing."""
WIDE_BRACES = re.compile(r"\{[^{}]*(\d{5}|\{)")
"""The same for ``format``: ``{:>99999}``, ``{:{}}``."""
PADDING = frozenset({"ljust", "rjust", "center", "zfill", "expandtabs"})
"""Methods of text that take a width."""
LEFT_OUT = ("batch", "center", "slice", "wordwrap")
"""Filters that pad to a width and that chat templates do not use."""


class LimitError(SecurityError):
    """A template went over one of the limits."""


class RefusalError(jinja2.TemplateError):
    """A template called ``raise_exception``: it does not want this conversation."""


class Meter:
    """What one rendering has used."""

    def __init__(self) -> None:
        self.steps = 0
        self.characters = 0
        self.end = time.monotonic() + SECONDS

    def step(self) -> None:
        """Count one round of a loop, or one call."""
        self.steps += 1
        if self.steps > STEPS:
            raise LimitError(f"more than {STEPS:,} steps")
        if time.monotonic() > self.end:
            raise LimitError(f"more than {SECONDS:g} seconds")

    def build(self, size: int) -> None:
        """Count a text or list about to be built."""
        self.characters += size
        if self.characters > CHARACTERS:
            raise LimitError(f"more than {CHARACTERS:,} characters of text built")


class Generation(Extension):
    """``{% generation %}`` marks what a model wrote, for training; here it only groups."""

    tags = {"generation"}  # noqa: RUF012 - as its base declares it

    def parse(self, parser: Parser) -> nodes.Node:
        """Parse up to ``{% endgeneration %}``."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body).set_lineno(line)


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment that chat templates are written for, metered.

    Trims as transformers does, and offers what it offers: ``raise_exception``,
    ``strftime_now``, ``tojson`` without HTML escapes, ``break``, ``continue``, ``generation``.
    """

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
        )
        self._rendering = local()
        self.concat = self._concat  # type: ignore[method-assign]
        for name in LEFT_OUT:
            del self.filters[name]
        del self.globals["lipsum"]
        self.filters.update(
            tojson=_to_json,
            join=self._join,
            replace=self._replace,
            format=lambda pattern, *args, **named: self._percent(str(pattern), named or args),
            indent=self._indent,
        )
        self.globals.update(raise_exception=_refuse, strftime_now=_now)

    def read(self, source: str, name: str) -> jinja2.Template:
        """Compile a template. Raises jinja2.TemplateError and what a parser may raise."""
        self._rendering.meter = Meter()
        tree = self.parse(source, name)
        for loop in tree.find_all(nodes.For):
            tick = nodes.Call(nodes.EnvironmentAttribute("tick"), [], [], None, None)
            loop.body.insert(0, nodes.ExprStmt(tick).set_lineno(loop.lineno))
        _join_instead_of_concat(tree)
        tree.set_environment(self)
        code = self.compile(tree, name, name)
        return jinja2.Template.from_code(self, code, self.make_globals(None))

    def render(self, template: jinja2.Template, variables: Mapping[str, Any]) -> str:
        """Render within the limits. Raises LimitError, RefusalError and what a template may."""
        self._rendering.meter = Meter()
        pieces, size = [], 0
        for piece in template.generate(variables):
            size += len(piece)
            if size > OUTPUT:
                raise LimitError(f"more than {OUTPUT:,} characters of output")
            pieces.append(piece)
        return "".join(pieces)

    @property
    def meter(self) -> Meter:
        """Of the compilation or rendering that runs on this thread."""
        meter: Meter = self._rendering.meter
        return meter

    def tick(self) -> None:
        """Stand at the beginning of every loop's body: being called is what counts."""

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805, PYI063
        """Call what a template calls, counted, unless it builds too large a text."""
        __self.meter.step()
        method = getattr(__obj, "__wrapped__", __obj)  # The sandbox wraps ``format`` itself.
        owner = getattr(method, "__self__", None)
        if isinstance(owner, str):
            __self._check_method(owner, getattr(method, "__name__", ""), args)
        return super().call(__context, __obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute ``+ * ** %``, unless the result is too large."""
        if operator == "%" and isinstance(left, str):
            return self._percent(left, right)
        if operator == "+" and _is_sized(left) and _is_sized(right):
            self.meter.build(_size(left) + _size(right))
        elif operator == "*" and (_is_sized(left) or _is_sized(right)):
            text, count = (left, right) if _is_sized(left) else (right, left)
            self.meter.build(_size(text) * count if isinstance(count, int) else 0)
        elif isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length() * abs(right) if operator == "**" else left.bit_length()
            if bits + right.bit_length() > BITS:
                raise LimitError(f"a number of more than {BITS:,} bits")
        return super().call_binop(context, operator, left, right)

    def _check_method(self, text: str, name: str, args: tuple[Any, ...]) -> None:
        """Count what a method of text is about to build."""
        if name in PADDING:
            self.meter.build(max((arg for arg in args if isinstance(arg, int)), default=0))
            self.meter.build(len(text) * (8 if name == "expandtabs" else 1))
        elif name in {"format", "format_map"} and WIDE_BRACES.search(text):
            raise LimitError(f"a wide format, {text[:40]!r}")
        elif name == "replace" and len(args) > 1 and isinstance(args[0], str):
            self.meter.build(len(text) + text.count(args[0]) * len(str(args[1])))
        elif name == "join" and args and isinstance(args[0], (list, tuple)):
            self.meter.build(_total(args[0]) + len(text) * len(args[0]))

    def _concat(self, pieces: Iterable[str]) -> str:
        """Join the output of a block or macro."""
        listed = list(pieces)
        self.meter.build(_total(listed))
        return "".join(listed)

    @property
    def _join(self) -> Callable[..., Any]:
        """The filter ``join``."""

        @jinja2.pass_eval_context
        def join(
            context: EvalContext, value: Iterable[Any], d: str = "", attribute: Any = None
        ) -> str:
            listed = list(value)
            self.meter.build(_total(listed) + len(str(d)) * len(listed))
            return filters.sync_do_join(context, listed, d, attribute)

        return join

    def _replace(self, text: object, old: str, new: str, count: int | None = None) -> str:
        """Do as the filter ``replace``."""
        value = str(text)
        self._check_method(value, "replace", (str(old), new))
        return value.replace(str(old), str(new), -1 if count is None else count)

    def _percent(self, pattern: str, given: Any) -> str:
        """Do as the filter ``format`` and the operator ``%`` of text."""
        if WIDE_PERCENT.search(pattern):
            raise LimitError(f"a wide format, {pattern[:40]!r}")
        values = given.values() if isinstance(given, dict) else given
        self.meter.build(len(pattern) + _total(values if _is_list(values) else [values]))
        return str(pattern % given)

    def _indent(
        self,
        text: str,
        width: int | str = 4,
        first: bool = False,  # noqa: FBT001, FBT002 - the signature templates call
        blank: bool = False,  # noqa: FBT001, FBT002
    ) -> str:
        """Do as the filter ``indent``."""
        step = width if isinstance(width, int) else len(width)
        self.meter.build(len(text) + step * (len(text.splitlines()) + 1))
        return filters.do_indent(text, width, first, blank)


def _join_instead_of_concat(tree: nodes.Template) -> None:
    """Write ``a ~ b`` as ``[a, b] | join``, which is the same and counted."""
    for parent in [tree, *tree.find_all(nodes.Node)]:
        for field, value in list(parent.iter_fields()):
            if isinstance(value, nodes.Concat):
                setattr(parent, field, _joined(value))
            elif isinstance(value, list):
                value[:] = [_joined(v) if isinstance(v, nodes.Concat) else v for v in value]


def _joined(concat: nodes.Concat) -> nodes.Filter:
    items = nodes.List(concat.nodes, lineno=concat.lineno)
    return nodes.Filter(items, "join", [], [], None, None, lineno=concat.lineno)


def _is_list(value: object) -> bool:
    return not isinstance(value, str) and isinstance(value, Iterable)


def _is_sized(value: object) -> bool:
    return isinstance(value, (str, list, tuple))


def _size(value: str | list[Any] | tuple[Any, ...]) -> int:
    """Length of a text, or what a list of references takes in place of one."""
    return len(value) * (1 if isinstance(value, str) else 8)


def _total(values: Iterable[Any]) -> int:
    return sum(len(value) for value in values if isinstance(value, str))


def _to_json(
    value: Any,
    ensure_ascii: bool = False,  # noqa: FBT001, FBT002 - the signature templates call
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,  # noqa: FBT001, FBT002
) -> str:
    """JSON as it is: Jinja's own filter escapes HTML, which no model was trained on."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=min(indent, 16) if indent else indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _refuse(message: object) -> NoReturn:
    raise RefusalError(str(message))


def _now(pattern: str) -> str:
    """The local time, as the template wants it."""
    return datetime.now().astimezone().strftime(pattern)
