"""What every processor promises, as checks: ``check_processor(Words, folder=...)``."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import numpy as np

from triptych.core.errors import InputError
from triptych.core.ports import Port, same_dtype
from triptych.core.prompt import Media, Prompt
from triptych.core.request import Request
from triptych.testing.check import Check, check
from triptych.testing.generators import global_generators
from triptych.testing.require import require
from triptych.testing.settings_checks import SETTINGS
from triptych.testing.subject import Subject

TEXTS = ("What is this?", "One two three, and a half.", "Grüße, 世界!")


def check_processor(kind: type, *, requests: Sequence[Request] = (), **settings: Any) -> None:
    """Check the processor class `kind` with these settings.

    requests: what to try it on; without any, texts, and pictures where it offers ports.
    Returns None, or raises AssertionError with a sentence that says what it breaks. The promises
    are `CHECKS`, one by one.
    """
    check(Subject("processor", kind, settings, requests))


def sound_declaration(subject: Subject) -> None:
    """A processor says which ports it offers, which tokens end a reply, and how long one may be."""
    processor = subject.make()
    name = subject.name
    offers = getattr(processor, "offers", None)
    ports = isinstance(offers, tuple) and all(isinstance(port, Port) for port in offers)
    require(ports, f"{name}.offers is {offers!r}, not a tuple of triptych.Port.")
    ends = getattr(processor, "eos_ids", None)
    require(
        isinstance(ends, frozenset) and all(isinstance(token, int) for token in ends),
        f"{name}.eos_ids is {ends!r}, not a frozenset of token ids.",
    )
    longest = getattr(processor, "max_context", 0)
    require(
        longest is None or (isinstance(longest, int) and longest > 0),
        f"{name}.max_context is {longest!r}, neither None nor a number of tokens.",
    )


def sound_prompt(subject: Subject) -> None:
    """A prompt is whole token ids, and each medium has tokens of its own, in order."""
    for request, prompt in _prompts(subject):
        who = f"{subject.name} on {_shown(request)}"
        require(isinstance(prompt, Prompt), f"{who} made {type(prompt).__name__}, no Prompt.")
        tokens = np.asarray(prompt.tokens)
        require(
            tokens.dtype == np.int64 and tokens.ndim == 1 and (tokens >= 0).all(),
            f"{who} made tokens of {tokens.dtype} {list(tokens.shape)}, not int64 [S] from 0.",
        )
        places = [np.asarray(item.at) for item in prompt.media]
        for at in places:
            inside = len(at) == 0 or (at.min() >= 0 and at.max() < len(tokens))
            require(
                inside and (np.diff(at) > 0).all(),
                f"{who} placed a medium at {at[:4]}..., not ascending within {len(tokens)} tokens.",
            )
        together = np.concatenate(places) if places else np.zeros(0, np.int64)
        require(
            len(np.unique(together)) == len(together),
            f"{who} gave two media the same token.",
        )


def never_empty(subject: Subject) -> None:
    """A prompt has a token, and a picture has a row."""
    for request, prompt in _prompts(subject):
        who = f"{subject.name} on {_shown(request)}"
        require(len(prompt.tokens), f"{who} made no token.")
        require(all(len(item.at) for item in prompt.media), f"{who} made a medium without rows.")


def declared_ports(subject: Subject) -> None:
    """The ports of media are those that are offered, with their dtypes and axes."""
    processor = subject.make()
    offers = {port.name: port for port in processor.offers}
    for request, prompt in _prompts(subject, processor):
        for item in prompt.media:
            who = f"{subject.name} on {_shown(request)}"
            more = item.ports.keys() - offers.keys()
            require(not more, f"{who} made {', '.join(sorted(more))}, which it does not offer.")
            for name, value in item.ports.items():
                port = offers[name]
                fits = value.ndim == len(port.axes) and all(
                    not isinstance(axis, int) or axis == size
                    for axis, size in zip(port.axes, value.shape, strict=True)
                )
                require(
                    fits and same_dtype(str(value.dtype), port.dtype),
                    f"{who} made {name} of {value.dtype} {list(value.shape)}, and offers {port}.",
                )


def unique_ids(subject: Subject) -> None:
    """Media of one content have one digest, and media of another content another one."""
    processor = subject.make()
    if not processor.offers:
        return
    digests = []
    for seed in (0, 0, 1):
        request = Request(TEXTS[0], images=(picture(seed),))
        digests += [_image(subject, processor, request).digest]
    require(
        digests[0] == digests[1],
        f"{subject.name} gave one picture two digests, so that it would be computed twice.",
    )
    require(
        digests[0] != digests[2],
        f"{subject.name} gave two pictures one digest; the second would be shown as the first.",
    )


def text_round_trip(subject: Subject) -> None:
    """What `encode` makes of a text is that text again for `decode`."""
    processor = subject.make()
    for text in TEXTS:
        back = processor.decode(processor.encode(text))
        require(
            back.strip() == text,
            f"{subject.name} encoded {text!r} and decoded {back!r}.",
        )


def inputs_unchanged(subject: Subject) -> None:
    """A request is as it was."""
    processor = subject.make()
    for request in _requests(subject, processor):
        before = deepcopy(request)
        prompt = _prompt(subject, processor, request)
        for item in prompt.media:
            _ = item.ports
        require(
            _same_request(before, request),
            f"{subject.name} changed the request {_shown(request)}.",
        )


def determinism_by_seed(subject: Subject) -> None:
    """One request makes one prompt and the same ports, whatever other generators do."""
    found = []
    for elsewhere in (1, 2):
        with global_generators(elsewhere):
            found.append([_plain(prompt) for _, prompt in _prompts(subject)])
    require(found[0] == found[1], f"{subject.name} made something else of the same request.")


def row_isolation(subject: Subject) -> None:
    """What is made of a request does not depend on those before it."""
    made = []
    for step in (1, -1):
        processor = subject.make()
        plain = []
        for request in _requests(subject, processor)[::step]:
            with global_generators(0):
                plain.append(_plain(_prompt(subject, processor, request)))
        made.append(plain[::step])
    require(
        made[0] == made[1],
        f"{subject.name} made something else of a request after others; it keeps nothing of them.",
    )


def refuses_kindly(subject: Subject) -> None:
    """A picture that is none is an InputError, when the prompt or its ports are made."""
    processor = subject.make()
    try:
        prompt = processor.prompt(Request(TEXTS[0], images=(b"this is no picture",)))
        for item in prompt.media:
            _ = item.ports
    except InputError:
        return
    except Exception as error:
        raise AssertionError(
            f"{subject.name} raised {type(error).__name__} for a file that is no picture; raise "
            "triptych.InputError with a message for the person who sent it."
        ) from error
    raise AssertionError(f"{subject.name} took a file that is no picture and said nothing.")


def picture(seed: int) -> Any:
    """uint8 [56, 84, 3]: large areas, another one for each seed."""
    areas = np.random.Generator(np.random.PCG64(seed)).integers(0, 256, (2, 3, 3), np.uint8)
    return np.kron(areas, np.ones((28, 28, 1), np.uint8))


def _requests(subject: Subject, processor: Any) -> list[Request]:
    if subject.examples:
        return list(subject.examples)
    texts = [Request(text) for text in TEXTS]
    if not processor.offers:
        return texts
    one, two = (picture(0),), (picture(1), picture(0))
    return [*texts, Request(TEXTS[0], images=one), Request(TEXTS[1], images=two)]


def _prompts(subject: Subject, processor: Any = None) -> list[tuple[Request, Prompt]]:
    processor = subject.make() if processor is None else processor
    requests = _requests(subject, processor)
    return [(request, _prompt(subject, processor, request)) for request in requests]


def _prompt(subject: Subject, processor: Any, request: Request) -> Prompt:
    try:
        prompt: Prompt = processor.prompt(request)
    except Exception as error:
        raise AssertionError(
            f"{subject.name} on {_shown(request)} raised {type(error).__name__}: {error}"
        ) from error
    return prompt


def _image(subject: Subject, processor: Any, request: Request) -> Media:
    media = _prompt(subject, processor, request).media
    require(media, f"{subject.name} offers ports, and made no medium of a picture.")
    return media[0]


def _plain(prompt: Prompt) -> tuple[Any, ...]:
    media = [(item.kind, item.digest, item.at.tolist(), _bytes(item)) for item in prompt.media]
    return (prompt.tokens.tolist(), media)


def _bytes(item: Media) -> list[tuple[str, bytes]]:
    return [(name, value.tobytes()) for name, value in sorted(item.ports.items())]


def _same_request(one: Request, other: Request) -> bool:
    return (
        (one.text, one.messages, one.system) == (other.text, other.messages, other.system)
        and len(one.images) == len(other.images)
        and all(np.array_equal(a, b) for a, b in zip(one.images, other.images, strict=True))
    )


def _shown(request: Request) -> str:
    pictures = f" with {len(request.images)} images" if request.images else ""
    return f"{(request.text or 'messages')!r}{pictures}"


CHECKS = (
    SETTINGS,
    Check("sound_declaration", sound_declaration),
    Check("sound_prompt", sound_prompt),
    Check("never_empty", never_empty),
    Check("declared_ports", declared_ports),
    Check("unique_ids", unique_ids),
    Check("text_round_trip", text_round_trip),
    Check("inputs_unchanged", inputs_unchanged),
    Check("determinism_by_seed", determinism_by_seed),
    Check("row_isolation", row_isolation),
    Check("refuses_kindly", refuses_kindly),
)
"""What a processor promises."""
