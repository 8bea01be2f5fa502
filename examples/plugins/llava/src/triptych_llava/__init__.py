"""LLaVA-1.5 for Triptych."""
