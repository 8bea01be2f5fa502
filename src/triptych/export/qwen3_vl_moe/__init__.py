"""Qwen3-VL with a mixture of experts (arXiv 2511.21631): 30B-A3B and 235B-A22B."""
