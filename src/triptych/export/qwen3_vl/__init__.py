"""Qwen3-VL (arXiv 2511.21631): vision encoder with DeepStack, interleaved MRoPE, GQA."""
