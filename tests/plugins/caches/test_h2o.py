"""Eviction by attention: who stays beside a plain reading of the paper, and in a whole model."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

import triptych
from triptych import Request
from triptych.core.config_error import ConfigError
from triptych.core.ports import CachePair, Port
from triptych.export import export_checkpoint
from triptych.models.sketch.checkpoint import load_checkpoint
from triptych.plugins.caches.buffers import CacheError
from triptych.plugins.caches.h2o import H2O, TAKEN_BACK

ROOT = Path(__file__).parents[3]
SKETCH = ROOT / "checkpoints" / "sketch"
PICTURES = sorted((ROOT / "examples" / "images").glob("*.png"))[:3]
SCENE = ROOT / "examples" / "images" / "scene.png"
LAYERS, HEADS, GROUP = 2, 2, 2


def pairs():
    axes = ("B", HEADS, "max_len", 1)
    names = [(layer, part) for layer in range(LAYERS) for part in ("key", "value")]
    return [
        CachePair(
            Port(f"past.{layer}.{part}", "float32", axes),
            Port(f"present.{layer}.{part}", "float32", axes),
            layer,
            part,
        )
        for layer, part in names
    ]


def policy(**settings):
    return H2O(H2O.Settings(**settings))


def paid(layer, token, seen, mark=0):
    """What a token's query heads pay the tokens that they see: f32 [query heads, seen].

    mark: of the text that the token is from.
    """
    random = np.random.default_rng((layer, token, mark))
    liked = np.random.default_rng((layer, mark)).random((HEADS * GROUP, 200)) ** 6
    everywhere = random.random((HEADS * GROUP, 200)) * liked + 1e-4
    rows = np.stack([everywhere[head, seen[head]] for head in range(HEADS * GROUP)])
    return (rows / rows.sum(-1, keepdims=True)).astype(np.float32)


class Run:
    """One slot whose decoder writes the tokens themselves, and attends as `paid` says."""

    def __init__(self, slots=None, **settings):
        self.cache = slots or policy(**settings).make(pairs(), 200, np.zeros)
        self.slot = self.cache.lease()
        self.length = 0

    def forward(self, count, mark=0):
        while count:
            part = min(count, self.slot.room)
            self._forward(part, mark)
            count -= part

    def _forward(self, count, mark):
        index = np.arange(self.length, self.length + count)
        before = self.kept()
        pasts = self.cache.bind([self.slot], [index]).pasts
        begin = len(self.slot.index)
        seen = {}
        for layer in range(LAYERS):
            for part in ("key", "value"):
                pasts[f"past.{layer}.{part}"][0, :, begin : begin + count, 0] = index
            attention = np.zeros((HEADS * GROUP, count, begin + count + 3), np.float32)
            for place, token in enumerate(index):
                rows = [
                    [*before[layer][head // GROUP], *index[: place + 1]]
                    for head in range(HEADS * GROUP)
                ]
                attention[:, place, : begin + place + 1] = paid(layer, token, rows, mark)
            seen[f"attention.{layer}"] = attention
        self.cache.observe([self.slot], [seen])
        self.cache.settle([self.slot])
        self.length += count

    def kept(self):
        """Per layer and head, the tokens that the next forward finds; keys and values agree."""
        assert self.slot.room >= 1
        count, pasts = len(self.slot.index), self.slot.pasts
        kept = []
        for layer in range(LAYERS):
            keys, values = (pasts[f"past.{layer}.{part}"][0, :, :count, 0]
                            for part in ("key", "value"))  # fmt: skip
            np.testing.assert_array_equal(keys, values)
            kept.append(keys.astype(int).tolist())
        return kept


class Greedy:
    """Algorithm 1 of the paper for one head: after each token that is one too many, one goes."""

    def __init__(self, budget, recent, sinks):
        self.budget, self.recent, self.sinks = budget, recent, sinks
        self.received = {}

    def sees(self, token):
        return [*self.received, token]

    def take(self, token, paid):
        """paid: by each token that it sees, itself included."""
        self.received[token] = 0.0
        for other, amount in zip(list(self.received), paid, strict=True):
            self.received[other] += float(amount)
        if len(self.received) > self.budget:
            old = list(self.received)[self.sinks : len(self.received) - self.recent]
            del self.received[min(old, key=self.received.__getitem__)]


def test_each_head_keeps_what_the_papers_algorithm_keeps():
    size, recent, sinks = 5, 3, 2
    run = Run(size=size, recent=recent, sinks=sinks, slack=1, slice=1)
    heads = {
        (layer, head): Greedy(size + recent + sinks, recent, sinks)
        for layer in range(LAYERS)
        for head in range(HEADS)
    }
    for token in range(60):
        run.forward(1)
        for (layer, head), one in heads.items():
            rows = [heads[layer, query // GROUP].sees(token) for query in range(HEADS * GROUP)]
            one.pending = paid(layer, token, rows)[head * GROUP : (head + 1) * GROUP].sum(0)
        for one in heads.values():
            one.take(token, one.pending)
        expected = [
            [list(heads[layer, head].received) for head in range(HEADS)] for layer in range(LAYERS)
        ]
        assert run.kept() == expected
    assert expected[0] != expected[1], "layers choose by themselves"
    assert expected[0][0] != expected[0][1], "and so do heads"


def test_some_more_stay_between_two_evictions():
    run = Run(size=4, recent=2, slack=5, slice=7)
    for count in range(1, 40):
        run.forward(1)
        kept = run.kept()[0][0]
        assert len(kept) <= 4 + 2 + 5 - 1
        assert kept[-min(count, 2) :] == list(range(max(count - 2, 0), count))
        assert run.slot.room >= 7


@pytest.mark.parametrize("taken_back", [1, 3, 9])
def test_what_was_taken_back_leaves_no_trace(taken_back):
    settings = {"size": 6, "recent": 3, "slack": 12, "slice": 12}
    changed, plain = Run(**settings), Run(**settings)
    for run in (changed, plain):
        run.forward(20)
    changed.forward(taken_back, mark=1)
    assert changed.slot.truncate(20)
    changed.length = 20
    for run in (changed, plain):
        run.forward(30)
    assert changed.kept() == plain.kept()


def test_it_goes_back_no_farther_than_its_last_eviction_and_the_tokens_it_remembers():
    run = Run(size=6, recent=3, slack=4, slice=8)
    run.forward(16)
    run.kept()
    assert not run.slot.truncate(15), "rows were evicted that the shorter sequence would have"
    wide = Run(size=100, recent=3, slack=4, slice=90)
    wide.forward(70)
    assert wide.slot.truncate(70 - TAKEN_BACK)
    assert not wide.slot.truncate(70 - TAKEN_BACK - 1), "what it paid is in the sums"


def test_a_fork_goes_on_by_itself():
    run = Run(size=6, recent=3, slack=4, slice=8)
    run.forward(18)
    other = Run(run.cache)
    other.slot.close()
    other.slot, other.length = run.slot.fork(), run.length
    other.forward(40, mark=1)
    run.forward(40)
    alone = Run(size=6, recent=3, slack=4, slice=8)
    alone.forward(18)
    alone.forward(40)
    assert run.kept() == alone.kept()
    assert other.kept() != alone.kept()


def test_a_cache_that_nothing_reaches_keeps_all():
    run = Run(size=H2O.neutral["size"])
    run.forward(190)
    assert run.kept() == [[list(range(190))] * HEADS] * LAYERS


def test_attention_of_another_shape_is_refused():
    run = Run(size=4)
    run.cache.bind([run.slot], [np.arange(2)])
    seen = {f"attention.{layer}": np.ones((3, 2, 2), np.float32) for layer in range(LAYERS)}
    with pytest.raises(CacheError, match=r"attention.0 has the shape \[3, 2, 2\]; of 2 heads of"):
        run.cache.observe([run.slot], [seen])


# On the built-in model

NARROW = {"size": 12, "recent": 6, "sinks": 1, "slack": 4, "slice": 8}
NEW_TOKENS = 24


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    folder = tmp_path_factory.mktemp("open") / "export"
    return export_checkpoint(SKETCH, folder, expose="attention:all")


@cache
def pipeline(folder, strategy="autoregressive", approximate=False, **settings):
    chosen = {"decoder.cache": {"h2o": settings}} if settings else {}
    overrides = {**chosen, "strategy": strategy, "approximate": approximate}
    return triptych.load(folder, overrides=overrides)


def requests():
    asked = [
        ("Describe this image.", PICTURES[:1]),
        ("List the shapes as JSON.", PICTURES[1:2]),
        ("Describe this image.", PICTURES[2:]),
        ("red red red red, blue, red red red red red red", ()),
    ]
    settings = {"no_sample": True, "max_new_tokens": NEW_TOKENS}
    return [Request(text, images=images, settings=settings) for text, images in asked]


def said(pipe):
    return [pipe.generate(request).tokens for request in requests()]


def test_with_room_for_all_it_says_the_very_tokens_of_full(opened):
    assert said(pipeline(opened, size=4000)) == said(pipeline(opened))


def test_with_little_room_it_says_something_else_and_the_same_again_and_in_company(opened):
    pipe = pipeline(opened, **NARROW)
    alone = said(pipe)
    assert alone != said(pipeline(opened))
    assert said(pipe) == alone
    assert [reply.tokens for reply in pipe.generate_batch(requests())] == alone


def test_drafts_are_taken_back_as_if_they_had_never_been(opened):
    with pytest.raises(ConfigError, match="approximate: true"):
        pipeline(opened, "prompt_lookup", **NARROW)
    drafted = pipeline(opened, "prompt_lookup", approximate=True, size=40)
    assert said(drafted) == said(pipeline(opened, size=40))
    assert said(pipeline(opened, "prompt_lookup", approximate=True, **NARROW))


def test_one_token_at_a_time_it_is_transformers_with_the_papers_algorithm(opened):
    """The reference hides each layer's and head's evicted keys from each later query."""
    size, recent = 14, 6
    pipe = pipeline(opened, size=size, recent=recent, slack=1, slice=1)
    settings = {"no_sample": True, "max_new_tokens": 8}
    request = Request("Describe this image.", images=[SCENE], settings=settings)
    reply = pipe.generate(request, logprobs=0)
    prompt = pipe.processor.prompt(request)
    model, _ = load_checkpoint(SKETCH)
    model.set_attn_implementation("eager")
    config = model.config.text_config
    group = config.num_attention_heads // config.num_key_value_heads
    layers = model.model.language_model.layers
    tokens = [*prompt.tokens.tolist(), *reply.tokens]
    heads = [
        [Greedy(size + recent, recent, 0) for _ in range(config.num_key_value_heads)]
        for _ in layers
    ]
    hidden = torch.full(
        (len(layers), config.num_attention_heads, len(tokens), len(tokens)), -torch.inf
    )

    def hide(layer):
        def hook(_, args, kwargs):
            count = (args[0] if args else kwargs["hidden_states"]).shape[1]
            return args, {**kwargs, "attention_mask": hidden[None, layer, :, :count, :count]}

        return hook

    for number, layer in enumerate(layers):
        layer.register_forward_pre_hook(hide(number), with_kwargs=True)
    [media] = prompt.media
    logits = []
    for token in range(len(tokens)):
        for layer, own in enumerate(heads):
            for query in range(config.num_attention_heads):
                hidden[layer, query, token, own[query // group].sees(token)] = 0
        ids = torch.tensor(tokens[: len(prompt.tokens)] if token < len(prompt.tokens)
                           else tokens[: token + 1])[None]  # fmt: skip
        # Later rows are hidden from all: any will do.
        for later in range(token + 1, ids.shape[1]):
            hidden[:, :, later, later] = 0
        with torch.no_grad():
            out = model(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                pixel_values=torch.tensor(media.ports["pixel_values"]),
                image_grid_thw=torch.tensor(media.ports["image_grid_thw"]),
                mm_token_type_ids=(ids == model.config.image_token_id).int(),
                output_attentions=True,
            )
        logits.append(out.logits[0, token])
        for layer, own in enumerate(heads):
            rows = out.attentions[layer][0, :, token].numpy()
            for head, one in enumerate(own):
                seen = one.sees(token)
                one.take(token, rows[head * group : (head + 1) * group].sum(0)[seen])
    chosen = torch.stack(logits[len(prompt.tokens) - 1 : -1]).log_softmax(-1)
    expected = [float(row[token]) for row, token in zip(chosen, reply.tokens, strict=True)]
    assert [int(row.argmax()) for row in chosen] == list(reply.tokens)
    np.testing.assert_allclose([one.raw for one in reply.logprobs], expected, atol=1e-4)
    whole = pipeline(opened).generate(request, logprobs=0)
    assert whole.tokens != reply.tokens or (
        np.abs(np.subtract([one.raw for one in whole.logprobs], expected)).max() > 0.01
    ), "eviction matters here"


def test_without_the_attention_the_error_names_the_export_that_writes_it():
    with pytest.raises(ConfigError) as error:
        triptych.load(overrides={"decoder.cache": {"h2o": 8}})
    assert "h2o needs 'attention.0', which neither decoder nor a stage before it writes" in str(
        error.value
    )
    assert "triptych export CHECKPOINT OUT --expose attention:0-5" in str(error.value)


def test_each_half_of_a_split_decoder_evicts_by_its_own_layers(tmp_path):
    folder = export_checkpoint(SKETCH, tmp_path / "split", expose="attention:all", split=2)
    caches = {f"{label}.cache": {"h2o": NARROW} for label in ("early_decoder", "decoder")}
    split = triptych.load(folder, overrides=caches)
    assert said(split) == said(pipeline_of(tmp_path))
    insert = ["before decoder: {fastv: {ratio: 0.5, layer: 1}}"]
    assert said(triptych.load(folder, overrides=wide(caches), insert=insert))


def pipeline_of(folder):
    whole = export_checkpoint(SKETCH, folder / "whole", expose="attention:all")
    return triptych.load(whole, overrides={"decoder.cache": {"h2o": NARROW}})


def wide(caches):
    return {name: {"h2o": {**NARROW, "slice": 128}} for name in caches}
