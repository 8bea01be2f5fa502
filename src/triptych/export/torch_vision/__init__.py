"""A checkpoint's vision encoder run by torch, in the place of the graph."""
