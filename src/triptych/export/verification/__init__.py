"""Whether a pipeline computes what it should, stage by stage.

The side under test is the pipeline itself, run by the runtime's own code with taps on its ports.
The side that is right is a `Reference`: a checkpoint in transformers, or another pipeline.
"""
