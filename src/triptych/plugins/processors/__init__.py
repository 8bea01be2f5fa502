"""Processors: a request becomes a prompt, tokens become text."""
