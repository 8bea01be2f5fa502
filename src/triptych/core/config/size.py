"""How a number of bytes is written in a pipeline file."""

from __future__ import annotations

SIZE = r"^[0-9]+(\.[0-9]+)? ?(B|[KMGT]i?B)$"
"""``4GB``, ``512 MiB``; a number alone is not text."""
