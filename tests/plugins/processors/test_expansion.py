"""A placeholder becomes what its medium's expansion says, tokenized as one text with the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.core.ports import Port
from triptych.core.request import Request
from triptych.plugins.processors.conversation import MediaSource
from triptych.plugins.processors.expansion import Expansion, Rows
from triptych.plugins.processors.folder import ProcessorError
from triptych.plugins.processors.hf import HFProcessor
from triptych.plugins.processors.media_kind import Opened
from triptych.plugins.processors.placement import Placeholders

IMAGE, VIDEO = "<|image_pad|>", "<|video_pad|>"


class Listed:
    """A kind of media whose n-th medium has the n-th expansion."""

    offers: tuple[Port, ...] = ()

    def __init__(self, name: str, placeholder: str, *expansions: Expansion) -> None:
        self.name = name
        self.placeholder = placeholder
        self._waiting = list(expansions)

    def open(self, source: MediaSource) -> Opened:
        return Opened(str(source.value), self._waiting.pop(0), dict)


@pytest.fixture
def given(folder: Path, load: Any) -> Any:
    """Makes a processor with other kinds of media than the folder's own."""

    def make(*kinds: Listed) -> HFProcessor:
        processor = load(folder)
        known = {kind.name: kind for kind in kinds}
        processor._kinds = known
        processor._placeholders = Placeholders(
            {
                name: (kind.placeholder, processor._codec.id_of(kind.placeholder))
                for name, kind in known.items()
            }
        )
        return processor  # type: ignore[no-any-return]

    return make


def test_the_expansions_text_is_tokenized_with_what_surrounds_it(
    given: Any, tokenizer: Any, folder: Path
) -> None:
    """`circle` is one token, though its halves are the question's and the expansion's."""
    template = "{{ messages[0].content[0].text ~ '" + IMAGE + "' ~ '\\n' }}"
    (folder / "chat_template.jinja").write_text(template)
    expansion = Expansion(("le is", Rows(3), "\n<|vision_end|>b", Rows(2), "\n"))
    processor = given(Listed("image", IMAGE, expansion))
    parts = [{"type": "text", "text": "The circ"}, {"type": "image", "image": 1}]
    prompt = processor.prompt(Request(messages=[{"role": "user", "content": parts}]))
    text = f"The circle is{IMAGE * 3}\n<|vision_end|>b{IMAGE * 2}\n\n"
    assert prompt.tokens.tolist() == tokenizer.encode(text, add_special_tokens=False)
    pad = tokenizer.convert_tokens_to_ids(IMAGE)
    assert prompt.media[0].at.tolist() == np.flatnonzero(prompt.tokens == pad).tolist()
    assert len(prompt.media[0].at) == 5


def test_each_kind_has_its_own_placeholder(
    given: Any, tokenizer: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from triptych.plugins.processors import conversation

    monkeypatch.setattr(conversation, "PARTS", {**conversation.PARTS, "video": "video"})
    (folder / "chat_template.jinja").write_text(
        "{% for part in messages[0].content %}"
        "{{ {'image': '" + IMAGE + "', 'video': '" + VIDEO + "'}[part.type] }}{% endfor %}"
    )
    processor = given(
        Listed("image", IMAGE, Expansion((Rows(1),)), Expansion((Rows(2),))),
        Listed("video", VIDEO, Expansion(("t", Rows(3)))),
    )
    parts = [
        {"type": "image", "image": "one"},
        {"type": "video", "video": "clip"},
        {"type": "image", "image": "two"},
    ]
    prompt = processor.prompt(Request(messages=[{"role": "user", "content": parts}]))
    assert [(item.kind, item.digest, item.at.tolist()) for item in prompt.media] == [
        ("image", "one", [0]),
        ("video", "clip", [2, 3, 4]),
        ("image", "two", [5, 6]),
    ]
    assert prompt.tokens.tolist() == tokenizer.encode(
        IMAGE + "t" + VIDEO * 3 + IMAGE * 2, add_special_tokens=False
    )


def test_a_medium_may_have_no_rows(given: Any) -> None:
    processor = given(Listed("image", IMAGE, Expansion(("nothing", Rows(0)))))
    prompt = processor.prompt(Request(text="b", images=[1]))
    assert prompt.image_tokens == 0
    assert len(prompt.media) == 1


def test_an_expansion_that_spells_a_placeholder_is_refused(given: Any) -> None:
    processor = given(Listed("image", IMAGE, Expansion((IMAGE, Rows(1)))))
    with pytest.raises(ProcessorError, match="does not keep every media placeholder"):
        processor.prompt(Request(text="b", images=[1]))
