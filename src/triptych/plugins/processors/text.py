"""Text to token ids and back, with special tokens only where a template wrote them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from threading import Lock

from tokenizers import AddedToken, Encoding, Tokenizer

from triptych.plugins.processors.folder import ModelFolder, ProcessorError

ID_LIMIT = 2**32
"""Token ids are 32 bit in the tokenizers library; ids outside have no text."""
FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
"""What a saved token says of itself besides its text."""
TOKENIZER = "tokenizer.json"
"""The file of a tokenizer of the tokenizers library, with all that it does."""


class TextCodec:
    """A tokenizer, and the line between its special tokens and texts that spell them out.

    One may be used from several threads.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._lock = Lock()
        """Held while encoding: whether spelled-out tokens are split is the tokenizer's state."""

    @cached_property
    def special(self) -> Mapping[str, int]:
        """Special tokens and their ids."""
        added = self._tokenizer.get_added_tokens_decoder()
        return {token.content: index for index, token in added.items() if token.special}

    @property
    def json(self) -> str:
        """The tokenizer in the format of ``tokenizer.json``."""
        return self._tokenizer.to_str()

    def id_of(self, token: str) -> int | None:
        """A token's id."""
        return self._tokenizer.token_to_id(token)

    def token_of(self, index: int) -> str | None:
        """An id's token."""
        return self._tokenizer.id_to_token(index) if index < ID_LIMIT else None

    def text_of(self, token: int | str) -> str | None:
        """A token's text, whether it is given as an id or as text."""
        return self.token_of(token) if isinstance(token, int) else token

    def plain(self, text: str, *, frame: bool = False) -> list[int]:
        """The ids of plain text; special tokens that it spells out stay text.

        frame: add what the tokenizer puts around a text, such as a beginning-of-text token.
        """
        return self._encode(text, split_special=True, frame=frame).ids

    def rendered(self, text: str, literal: Mapping[str, str]) -> list[int]:
        """The ids of a rendered template.

        literal: characters of `text` that stand for texts which must stay text, whatever
            special token they spell. Without any, this is the tokenizer's ordinary encoding.
        """
        encoding = self._encode(text, split_special=False)
        if not any(sign in text for sign in literal):
            return encoding.ids
        restore = re.compile("|".join(map(re.escape, literal)))
        ids: list[int] = []
        for run, run_ids in self._runs(text, encoding):
            spelled = restore.sub(lambda sign: literal[sign[0]], run)
            ids += run_ids if spelled == run else self.plain(spelled)
        return ids

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of ids: special tokens left out, ids that no token has passed over."""
        try:
            return self._tokenizer.decode(tokens, skip_special_tokens=True)
        except OverflowError:  # Of an id that is negative, or longer than the tokenizer's.
            known = [token for token in tokens if 0 <= token < ID_LIMIT]
            return self._tokenizer.decode(known, skip_special_tokens=True)

    def _runs(self, text: str, encoding: Encoding) -> Iterator[tuple[str, list[int]]]:
        """The special tokens and the runs of text between them, with the ids of each."""
        special = {index: token for token, index in self.special.items()}
        run: list[int] = []
        begin = 0
        for index, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            # The id alone does not tell: an unknown character's token may be special, too.
            if index not in special or special[index] not in text[start:end]:
                run.append(index)
                continue
            yield text[begin:start], run
            yield "", [index]
            run, begin = [], end
        yield text[begin:], run

    def _encode(self, text: str, *, split_special: bool, frame: bool = False) -> Encoding:
        with self._lock:
            self._tokenizer.encode_special_tokens = split_special
            return self._tokenizer.encode(text, add_special_tokens=frame)


def read_codec(folder: ModelFolder) -> TextCodec:
    """The tokenizer in the folder's ``tokenizer.json``, read in hundredths of a second.

    Raises ProcessorError when there is none, or a broken one.
    """
    path = folder.path / TOKENIZER
    if not path.is_file():
        raise ProcessorError(f"{folder.path} holds no {TOKENIZER}")
    try:
        tokenizer = Tokenizer.from_file(str(path))
        _add_missing(tokenizer, folder)
    except ProcessorError:
        raise
    except Exception as error:  # The library raises bare Exception for what it cannot parse.
        raise ProcessorError(f"{path} is not a tokenizer that can be read: {error}") from error
    return TextCodec(tokenizer)


def _add_missing(tokenizer: Tokenizer, folder: ModelFolder) -> None:
    """Add the tokens that only ``tokenizer_config.json`` lists, as transformers does."""
    listed = folder.tokenizer_config.get("added_tokens_decoder")
    if not isinstance(listed, dict):
        return
    known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    for key, entry in sorted(listed.items(), key=lambda item: int(item[0])):
        content = entry["content"]
        if content in known:
            continue
        flags = {name: bool(entry[name]) for name in FLAGS if name in entry}
        tokenizer.add_tokens([AddedToken(content, **flags)])
        if tokenizer.token_to_id(content) != int(key):
            raise ProcessorError(
                f"{folder.path}: tokenizer_config.json gives {content!r} the id {key}, "
                f"but by tokenizer.json it is {tokenizer.token_to_id(content)}"
            )
