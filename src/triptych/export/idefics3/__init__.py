"""Idefics3 (arXiv 2408.12637) and SmolVLM (arXiv 2504.05299): tiles, pixel shuffle, Llama."""
