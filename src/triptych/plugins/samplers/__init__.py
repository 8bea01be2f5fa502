"""The built-in sampling steps."""
