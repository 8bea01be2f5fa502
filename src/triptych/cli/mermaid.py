"""The data flow as a Mermaid drawing (https://mermaid.js.org/syntax/flowchart.html)."""

from __future__ import annotations

from collections.abc import Iterator

from triptych.cli.flow import ABSENT, CACHE, CORE, PROCESSOR, Flow, Step


def drawing(flow: Flow) -> str:
    """The text of a flowchart: stages are nodes, ports stand on the arrows."""
    return "\n".join(_Drawing(flow).lines()) + "\n"


class _Drawing:
    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        steps = (*flow.input, *flow.span)
        # Labels may hold signs that an id must not.
        self.ids = {step.label: f"stage{index}" for index, step in enumerate(steps)}
        self.ids |= {PROCESSOR: "processor", CORE: "core"}

    def lines(self) -> Iterator[str]:
        flow = self.flow
        yield "flowchart TD"
        yield '  request(["request"])'
        yield f"  processor[{_quoted(f'processor: {flow.processor}')}]"
        yield '  core[["core: the sequence"]]'
        yield from self._group("INPUT", "INPUT: once on what enters", flow.input)
        yield from self._group("SPAN", "SPAN: on each slice that is forwarded", flow.span)
        yield f"  subgraph SAMPLER[{_quoted(f'sampler, driven by {flow.strategy}')}]"
        steps = [f"step{index}[{_quoted(text)}]" for index, text in enumerate(flow.sampler)]
        yield f"    {' --> '.join(steps)}"
        yield "  end"
        yield '  text(["text"])'
        yield "  request --> processor"
        yield _arrow("processor", ["tokens"], "core")
        for step in (*flow.input, *flow.span):
            yield from self._arrows(step)
        yield _arrow(self.ids[flow.logits_from], ["logits"], "step0")
        last = f"step{len(flow.sampler) - 1}"
        yield _arrow(last, ["token"], "core")
        yield _arrow(last, ["token"], "decode")
        yield f"  decode[{_quoted(f'processor: {flow.processor}')}] --> text"

    def _group(self, name: str, title: str, steps: tuple[Step, ...]) -> Iterator[str]:
        if not steps:
            return
        yield f"  subgraph {name}[{_quoted(title)}]"
        for step in steps:
            yield f"    {self.ids[step.label]}[{_quoted(step.title)}]"
            if step.cache is not None:
                yield f"    {self._cache(step)}[({_quoted(f'cache: {step.cache}')})]"
        yield "  end"

    def _arrows(self, step: Step) -> Iterator[str]:
        target = self.ids[step.label]
        for source, ports in step.reads.items():
            if source == CACHE:
                yield _arrow(self._cache(step), list(ports), target)
                yield _arrow(target, ["as many present tensors"], self._cache(step))
            elif source != ABSENT:
                yield _arrow(self.ids[source], list(ports), target)
        to_core = [port for port in step.to_core if port != "logits"]
        if to_core:
            yield _arrow(target, to_core, "core")

    def _cache(self, step: Step) -> str:
        return f"cache_{self.ids[step.label]}"


def _arrow(source: str, ports: list[str], target: str) -> str:
    return f"  {source} -->|{_quoted(', '.join(ports))}| {target}"


def _quoted(text: str) -> str:
    """Text in which Mermaid sees no syntax."""
    return '"' + text.replace("#", "#35;").replace('"', "#quot;") + '"'
