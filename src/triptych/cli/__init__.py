"""The command line: one file per verb, the app in `main`.

Whatever is slow to import is imported inside the verbs, so that ``--help`` is quick.
"""
