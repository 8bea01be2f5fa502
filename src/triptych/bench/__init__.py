"""How fast a pipeline is, beside the machine's own limits and beside other runtimes.

`session.measure` is the whole of it: every contender runs in a process of its own
(`contender.py`, `runtimes/`), each size is measured in turn, pair by pair, and `report.py` says
what came of it.
"""
