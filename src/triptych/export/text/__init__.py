"""Text-only decoders: the Qwen3, Qwen2 and Llama families."""
