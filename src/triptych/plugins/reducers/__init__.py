"""Stages that drop or merge visual tokens before the decoder sees them."""
