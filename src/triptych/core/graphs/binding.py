"""What a graph is bound to stays bound: a step binds only what is another array than before."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from triptych.core.graphs.device import Device, DeviceArray, bind_to
from triptych.core.ports import Array, Port
from triptych.core.system.memory import give_back

_SMALL = 1024
"""Bytes up to which an input is copied to memory that is bound: that costs less than to bind it."""

_PASSING = 64 * 1024
"""Bytes from which on an input is let go after its run: a prompt's embeddings serve once."""

_LARGE = 1024 * 1024
"""Bytes of inputs that are let go from which on a run leaves memory that is worth giving back."""

_SHRINK = ("memory.enable_memory_arena_shrinkage", "cpu:0")

_KEPT = 8 * 1024 * 1024
"""Bytes up to which an output has memory of its own."""

_NOTHING = np.zeros(0, np.float32)


class Output:
    """An output of a graph, and the memory that is its own.

    Where its declared axes tell its shape, and that is the one it had last time, it is written to
    one array again and again: a step allocates nothing, and what a run gave is valid until the
    next one.
    """

    def __init__(self, port: Port, inputs: Sequence[Port]) -> None:
        """port: as the graph declares it. inputs: the graph's."""
        self.name = port.name
        self.array: Array | None = None
        self.memory: Any = None
        self._axes = _sources(port, inputs)
        self._expected: tuple[int, ...] = ()
        self._last: tuple[int, ...] | None = None

    @property
    def sources(self) -> set[str]:
        """The inputs that tell its shape."""
        return {name for name, _ in self._axes or () if name is not None}

    def prepare(self, feeds: Mapping[str, Array]) -> None:
        """Before a run of other shapes: `array`, and `memory` as an OrtValue, or None."""
        if self._axes is None:
            return
        shape = tuple(
            [axis if name is None else feeds[name].shape[axis] for name, axis in self._axes]
        )
        self._expected = shape
        if shape != self._last:
            self.array = self.memory = None

    def settle(self, value: Array) -> None:
        """After a run without memory: whether the next one may have some, of this shape."""
        if self._axes is None:
            return
        if value.shape != self._expected:
            self.distrust()
        elif value.shape == self._last and value.nbytes <= _KEPT:
            self._reserve(value)
        self._last = value.shape

    def distrust(self) -> None:
        """Its axes tell something else than its shape."""
        self._axes = self.array = self.memory = None

    def _reserve(self, value: Array) -> None:
        from onnxruntime import OrtValue

        self.array = value
        self.memory = OrtValue.ortvalue_from_numpy(value)


class GraphBinding:
    """One io-binding of a session.

    inputs: the names of all inputs. presents: the output that each past input is, too. pasts: the
    buffers of those, which stay as long as it does, in the memory of the device or the CPU.
    shaping: the inputs that tell the shapes of outputs.
    device: where the session computes; None: on the CPU.

    What is bound from the memory of the CPU is read where it is by the CPU, but copied to another
    device when it is bound, and so bound again for each run.
    """

    def __init__(
        self,
        session: Any,
        device: Device | None,
        inputs: Sequence[str],
        presents: Mapping[str, str],
        pasts: Mapping[str, Array],
        shaping: Collection[str],
    ) -> None:
        from onnxruntime import OrtValue

        self._names = tuple(name for name in inputs if name not in presents)
        self._shaping = frozenset(shaping)
        self._reshaped = False
        self._session = session
        self._device = device
        self._io = session.io_binding()
        self._copies: dict[str, Array] = {}
        self._given: dict[str, Array] = {}
        self._copied: dict[str, Array] = {}
        self._varying: set[str] = set()
        self._passing: list[str] = []
        self._passed = 0
        self._memories: dict[str, Any] = {}
        self._presents = len(presents)
        for past, present in presents.items():
            value: Any = pasts[past]
            if isinstance(value, DeviceArray):
                bind_to(self._io.bind_input, past, value)
                bind_to(self._io.bind_output, present, value)
                continue
            buffer = OrtValue.ortvalue_from_numpy(value)
            self._io.bind_ortvalue_input(past, buffer)
            self._io.bind_ortvalue_output(present, buffer)

    def take(self, feeds: Mapping[str, Array]) -> bool:
        """Let the next run read these; the past inputs are bound.

        Whether an output may have another shape than in this binding's last run.
        """
        if self._device is not None:
            for name in self._names:
                self._feed_device(name, feeds[name])
            return True
        self._reshaped = False
        given = self._given
        for name in self._names:
            value = feeds[name]
            if given.get(name) is not value:
                self._feed(name, value)
        return self._reshaped

    def _feed(self, name: str, value: Array) -> None:
        """Let the next run read `value`, which is not bound, from the memory of the CPU."""
        copy = self._copies.get(name)
        if copy is None:
            if value.nbytes > _SMALL or name in self._varying:
                self._bind(name, value)
            else:
                self._given.pop(name, None)
                self._copied[name] = value
                self._copies[name] = np.array(value, order="C")
                self._bind_cpu(name, self._copies[name])
            return
        fits = copy.shape == value.shape and copy.dtype == value.dtype
        # What comes twice will come again, and is then cheaper to bind.
        if fits and self._copied[name] is not value:
            copy[...] = value
            self._copied[name] = value
            return
        if not fits:
            self._varying.add(name)
        del self._copies[name], self._copied[name]
        self._bind(name, value)

    def _bind(self, name: str, value: Array) -> None:
        """Let the next run read `value` where it is, or a copy of what is not contiguous."""
        bound = np.ascontiguousarray(value)
        if bound is value and value.nbytes <= _PASSING:
            # Kept as long as it is bound; another array could have its id.
            self._given[name] = value
        else:
            self._given.pop(name, None)
            if value.nbytes > _PASSING:
                self._passing.append(name)
                self._passed += value.nbytes
        self._bind_cpu(name, bound)

    def _bind_cpu(self, name: str, value: Array) -> None:
        if name in self._shaping:
            self._reshaped = True
        self._io.bind_cpu_input(name, value)

    def run(self, outputs: Sequence[Output], kept: Collection[str] = ()) -> dict[str, Array]:
        """Run the session; what it wrote, by name. Raises what the session raises.

        outputs: that have their `aim`. kept: further outputs, which are given as arrays in the
        memory of the device.
        """
        if self._device is not None:
            for name in kept:
                self._memories[name] = None
                self._io.bind_output(name, self._device.memory, self._device.number)
            self._io.synchronize_inputs()
        if self._passed >= _LARGE and not self._passing:
            self._run_and_shrink()
        else:
            self._session.run_with_iobinding(self._io)
        made: dict[str, Any] = {}
        if self._device is not None:
            for name in kept:
                made[name] = DeviceArray.of(self._device, self._written(name))
        for output in outputs:
            array = output.array
            made[output.name] = self._taken(output) if array is None else array
        return made

    def _run_and_shrink(self) -> None:
        """Run, and give back what the runs of a prompt took beside what this one takes.

        ONNX Runtime keeps all that it ever had, for the next run, and that is a step.
        """
        from onnxruntime import RunOptions

        options = RunOptions()
        options.add_run_config_entry(*_SHRINK)
        self._session.run_with_iobinding(self._io, options)
        self._passed = 0
        give_back()

    def let_go(self) -> None:
        """Forget what is too large to be kept until the next run."""
        if self._passing:
            for name in self._passing:
                self._io.bind_cpu_input(name, _NOTHING)
            self._passing.clear()

    def aim(self, output: Output) -> None:
        """Have the output written to its own memory, or to new memory if it has none."""
        name, memory = output.name, output.memory
        if name in self._memories and self._memories[name] is memory:
            return
        self._memories[name] = memory
        if memory is None:
            self._io.bind_output(name, "cpu")
        else:
            self._io.bind_ortvalue_output(name, memory)

    def _taken(self, output: Output) -> Array:
        """What the run wrote to new memory, which is then nobody else's."""
        value: Array = self._written(output.name).numpy()
        self._io.bind_output(output.name, "cpu")
        output.settle(value)
        return value

    def _written(self, name: str) -> Any:
        """The OrtValue of an output that has no memory of its own."""
        # get_outputs follows the order in which names were first bound: the presents first.
        return self._io.get_outputs()[self._presents + list(self._memories).index(name)]

    def _feed_device(self, name: str, value: Any) -> None:
        """Bind `value`, unless it is bound and nobody can have changed it."""
        if isinstance(value, DeviceArray):
            bind_to(self._io.bind_input, name, value)
        elif self._given.get(name) is value:
            return
        else:
            self._io.bind_cpu_input(name, np.ascontiguousarray(value))
        # Kept as long as it is bound; another array could have its id.
        self._given.pop(name, None)
        if isinstance(value, DeviceArray) or not value.flags.writeable:
            self._given[name] = value


def _sources(port: Port, inputs: Sequence[Port]) -> tuple[tuple[str | None, int], ...] | None:
    """For each axis of an output, the input and its axis that are as long, or None and a number.

    None where an axis is no input's, or the dtype is none of numpy's.
    """
    if port.dtype not in np.sctypeDict:
        return None
    known = {
        axis: (other.name, place)
        for other in inputs
        for place, axis in enumerate(other.axes)
        if isinstance(axis, str)
    }
    found: list[tuple[str | None, int]] = []
    for axis in port.axes:
        source = (None, axis) if isinstance(axis, int) else known.get(axis)
        if source is None:
            return None
        found.append(source)
    return tuple(found)
