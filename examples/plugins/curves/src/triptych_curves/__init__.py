"""A sampling step that bends the distribution."""
