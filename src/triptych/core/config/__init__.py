"""The pipeline file: from YAML and flags to a checked description of a pipeline."""
