"""Policies of what a key/value cache keeps."""
