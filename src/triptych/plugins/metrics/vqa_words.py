"""The normalisation of answers in VQA's evaluation script, with what is odd about it."""

from __future__ import annotations

import re

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_NUMBER_WITH_COMMA = re.compile(r"\d,\d")
_FULL_STOP = re.compile(r"\.(?!\d)")
"""Those before a digit stay: they may be decimal points."""

_ARTICLES = frozenset({"a", "an", "the"})
_NUMBERS = {"none": "0"} | {
    word: str(number)
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
}

_SHORTENED = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
    haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am might've mightn't
    mightn't've must've mustn't needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've
    shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll
    someone's something'd something'd've something'll that's there'd there'd've there're there's
    they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're
    what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll
    why're why's won't would've wouldn't wouldn't've y'all y'all'd've y'all'll you'd you'd've
    you'll you're you've
""".split()  # noqa: SIM905 - prose reads better than two hundred quotes
"""Words that are written right where one of their apostrophes is missing."""


def _with_one_missing(word: str) -> list[str]:
    places = [place for place, letter in enumerate(word) if letter == "'"]
    return [word[:place] + word[place + 1 :] for place in places]


_WRITTEN_RIGHT = {wrong: word for word in _SHORTENED for wrong in _with_one_missing(word)} | {
    "somebody'd": "somebodyd"
}


def normalized(text: str) -> str:
    """An answer as the script compares it.

    Punctuation goes where a space is beside it, or where the text has a number with a comma, and
    becomes a space elsewhere. Full stops go. Then words in lower case: numbers up to ten as
    digits, without articles, with the apostrophes that are usual.
    """
    bare = text
    has_number = _NUMBER_WITH_COMMA.search(text) is not None
    for mark in _PUNCTUATION:
        gone = has_number or f"{mark} " in text or f" {mark}" in text
        bare = bare.replace(mark, "" if gone else " ")
    words = (_NUMBERS.get(word, word) for word in _FULL_STOP.sub("", bare).lower().split())
    return " ".join(_WRITTEN_RIGHT.get(word, word) for word in words if word not in _ARTICLES)
