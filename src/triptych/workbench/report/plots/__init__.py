"""Drawings of a report, as SVG whose colours are those of the page around it."""
