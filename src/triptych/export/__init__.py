"""A checkpoint becomes three graphs and a pipeline file, and is compared with them."""

from triptych.export.run import export_checkpoint

__all__ = ["export_checkpoint"]
