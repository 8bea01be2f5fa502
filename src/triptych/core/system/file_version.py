"""The version that a file of ours says it has."""

from __future__ import annotations


def unread_version(found: object, reads: int, name: str = "format") -> str | None:
    """Why a version is not one that this release reads, to follow the file's name; None: it is.

    name: of the field that says it.
    """
    if found == reads and not isinstance(found, bool):
        return None
    newer = isinstance(found, int) and found > reads
    remedy = "; upgrade triptych" if newer else ""
    return f"has {name} {found!r}, and this Triptych reads {reads}{remedy}"
