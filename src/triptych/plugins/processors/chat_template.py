"""The chat template of a model's folder: a conversation becomes one text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from triptych.core.errors import InputError
from triptych.plugins.processors.folder import ProcessorError
from triptych.plugins.processors.sandbox import LimitError, RefusalError, Sandbox

SOURCE_LIMIT = 2**20
"""The longest template, in characters; real ones have a few thousand."""

PROBE = "\N{LATIN SMALL LETTER A}\U00100000\N{LATIN SMALL LETTER A}"
"""A content that no template contains, to see how it is rendered."""


class ChatTemplate:
    """A compiled template.

    source: Jinja, as transformers reads it. place: its file, for messages.
    variables: what it may refer to besides the messages, such as ``bos_token``.

    Raises ProcessorError when it does not compile.
    """

    def __init__(self, source: str, place: str, variables: Mapping[str, str]) -> None:
        if len(source) > SOURCE_LIMIT:
            raise ProcessorError(f"{place}: a chat template of more than {SOURCE_LIMIT:,} letters")
        self._place = place
        self._variables = dict(variables)
        self._sandbox = Sandbox()
        try:
            self._template = self._sandbox.read(source, place)
        except Exception as error:  # A hostile template makes a parser raise nearly anything.
            raise ProcessorError(f"{place}: the chat template is broken: {_say(error)}") from error

    def render(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """The text of a conversation, open for the assistant's turn.

        messages: plain data, as templates expect it; see `Conversation`.
        Raises InputError when the template refuses it, fails, or goes over a limit.
        """
        variables = {
            **self._variables,
            "messages": messages,
            "tools": None,
            "documents": None,
            "add_generation_prompt": True,
        }
        try:
            return self._sandbox.render(self._template, variables)
        except RefusalError as error:
            raise InputError(
                f"the model's chat template does not take this conversation: {error}"
            ) from error
        except LimitError as error:
            raise InputError(f"the chat template in {self._place} was stopped: {error}") from error
        except Exception as error:  # As above; the request cannot be served in any case.
            raise InputError(f"the chat template in {self._place} failed: {_say(error)}") from error

    @cached_property
    def takes_text(self) -> bool:
        """Whether a message's content may be text. Some templates want parts."""
        return self._shows(PROBE)

    @cached_property
    def takes_parts(self) -> bool:
        """Whether a message's content may be a list of parts. Older templates want text."""
        return self._shows([{"type": "text", "text": PROBE}])

    def _shows(self, content: object) -> bool:
        """Whether the template renders such a content, rather than its Python form."""
        try:
            text = self.render([{"role": "user", "content": content}])
        except InputError:
            return False
        return PROBE in text and "'type'" not in text


def _say(error: Exception) -> str:
    """An error in one line, with the template's line where it is known."""
    line = getattr(error, "lineno", None)
    where = f"line {line}: " if line else ""
    return f"{where}{error!s}" if str(error) else f"{where}{type(error).__name__}"
