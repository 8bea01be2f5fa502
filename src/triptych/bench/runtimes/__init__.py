"""What runs in the processes of a benchmark: one file per runtime, and the loop that serves it.

A process may have another interpreter, in which Triptych is not installed. So the files here
import the standard library, each other and, inside functions, their own runtime.
"""
