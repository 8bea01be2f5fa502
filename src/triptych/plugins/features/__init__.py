"""Features of images that lie on the disk."""
