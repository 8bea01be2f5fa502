"""Features of images that lie on the disk."""

from triptych.plugins.features.files import save_features

__all__ = ["save_features"]
