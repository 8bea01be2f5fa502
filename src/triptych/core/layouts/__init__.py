"""Folders that other tools made: recognised by their graphs' ports, and written as a pipeline.

The result is the text of a pipeline file and nothing else, so that whatever works with a file
works with such a folder. Nothing here knows a repository by its name.
"""
