"""The stage that turns embeddings into logits and keeps the key/value cache."""
