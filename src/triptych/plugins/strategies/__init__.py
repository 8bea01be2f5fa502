"""The built-in ways to decode."""
