"""The core: it knows no model, no sampler and no file of weights, only how they fit."""
