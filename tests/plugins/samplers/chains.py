"""Short ways to make steps and chains in tests."""

from importlib import import_module

import numpy as np

from triptych.core.sampling import Chain, Context
from triptych.plugins.samplers.draw import Draw
from triptych.plugins.samplers.greedy import Greedy
from triptych.plugins.samplers.manifest import samplers
from triptych.plugins.samplers.temperature import Temperature
from triptych.plugins.samplers.top_k import TopK
from triptych.plugins.samplers.top_p import TopP


def temperature(value):
    return Temperature(Temperature.Settings(temperature=value))


def top_k(k):
    return TopK(TopK.Settings(k=k))


def top_p(p):
    return TopP(TopP.Settings(p=p))


def chain(*warps, seed=0, chooser=None):
    return Chain([*warps, chooser or Draw()], seed=seed)


def greedy():
    return Greedy()


def row(*logits):
    return np.array(logits, np.float32)


def context():
    """For a step called outside of a chain."""
    return Context(np.zeros(0, np.int64), 0, np.random.Generator(np.random.PCG64(0)))


def step(name, **settings):
    """A built-in step by its name."""
    component = next(one for one in samplers() if one.name == name)
    module, _, kind = component.target.partition(":")
    made = getattr(import_module(module), kind)
    return made(made.Settings(**settings))
