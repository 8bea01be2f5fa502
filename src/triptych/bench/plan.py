"""Which sizes are measured, and how often."""

from __future__ import annotations

from dataclasses import dataclass, replace

from triptych.bench.measurement import TOPICS, Measure, Topic

PICTURES = ((384, 384),)
PROMPTS = (512,)
CONTEXTS = (32, 1024)
SEQUENCES = (4,)


@dataclass(frozen=True)
class Plan:
    """pictures: width and height in pixels. prompts, contexts: tokens. sequences: how many at once.

    together: the context at which several sequences are decoded. new: tokens of one decoding
    run. repeats: measured runs of each size, after one that warms up. restarts: fresh
    processes for loading and memory. threads: what every runtime gets.
    """

    threads: int
    pictures: tuple[tuple[int, int], ...] = PICTURES
    prompts: tuple[int, ...] = PROMPTS
    contexts: tuple[int, ...] = CONTEXTS
    sequences: tuple[int, ...] = SEQUENCES
    together: int = 32
    new: int = 32
    repeats: int = 5
    restarts: int = 3
    topics: tuple[Topic, ...] = TOPICS

    def measures(self) -> list[Measure]:
        """Everything that is to be measured, in the order of tables."""
        found = [Measure("load", "load", "s")]
        found += [
            Measure("vision", f"vision {width}x{height}", "s", sides=(width, height))
            for width, height in self.pictures
        ]
        found += [Measure("prefill", f"prefill {size}", "s", size) for size in self.prompts]
        found += [
            Measure("decode", f"decode at {size}", "tokens/s", size) for size in self.contexts
        ]
        found += [
            Measure(
                "sequences",
                f"{count} sequences at {self.together}",
                "tokens/s",
                self.together,
                count,
            )
            for count in self.sequences
        ]
        task = self.memory_task
        found += [
            Measure("memory", "peak memory", "bytes", task),
            Measure("memory", "above the imports", "bytes", task),
        ]
        return [measure for measure in found if measure.topic in self.topics]

    @property
    def memory_task(self) -> int:
        """The prompt's length in the task that memory is measured in."""
        return max((*self.prompts, self.together))

    def within(self, room: int) -> Plan:
        """Without the lengths that a context of `room` tokens has no place for."""
        most = room - self.new - 2
        return replace(
            self,
            prompts=tuple(size for size in self.prompts if size <= most),
            contexts=tuple(size for size in self.contexts if size <= most),
            sequences=self.sequences if self.together <= most else (),
            together=min(self.together, most),
        )
