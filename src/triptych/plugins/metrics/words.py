"""Normalised text: what differs without another meaning is made the same."""

from __future__ import annotations

import re
import string

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def squad(text: str) -> str:
    """As SQuAD's evaluation has it (arXiv 1606.05250; its script `normalize_answer`).

    Lower case, without ASCII punctuation, without the articles a, an and the, with one space
    between words.
    """
    bare = text.lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())
