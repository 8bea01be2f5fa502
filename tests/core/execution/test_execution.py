"""Stages run on what enters and on slices, and what they give is checked, kept and shared."""

import numpy as np
import pytest

from tests.fakes import (
    HIDDEN,
    PATCH,
    Decode,
    Embed,
    FakePipeline,
    FakeStage,
    Numbers,
    Vision,
    fake_stages,
    same,
)
from triptych import InputError, PluginError
from triptych.core.config.part import PortChange
from triptych.core.execution.execution import Clock
from triptych.core.ports import Port, When
from triptych.core.prompt import Media, Prompt
from triptych.plugins.caches.window import Window

IMAGES = [(4, 4, 1), (2, 6, 2)]
TEXT = "1 2 3 4 5 6 7"


def on_span(reads, writes, call, **more):
    return FakeStage(reads, writes, call, when=When.SPAN, **more)


# Slices


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 7, 11])
def test_slices_that_cut_images_give_the_logits_of_one_pass(chunk):
    tail = 9
    whole = FakePipeline().logits(TEXT, IMAGES, tail=tail)
    pipeline = FakePipeline(chunk=chunk)
    same(pipeline.logits(TEXT, IMAGES, tail=tail), whole)
    assert max(pipeline.stages["decode"].slices) == chunk


@pytest.mark.parametrize("name", ["image_features", "deepstack_features"])
def test_features_and_deepstack_layers_matter_to_the_logits(name):
    # Or the test above would prove little.
    class Without(Vision):
        def __call__(self, ports):
            written = super().__call__(ports)
            return {**written, name: np.zeros_like(written[name])}

    without = FakePipeline(fake_stages(replace={"vision": Without()}))
    logits = without.logits(TEXT, IMAGES)
    assert np.abs(logits - FakePipeline().logits(TEXT, IMAGES)).max() > 0.1


def test_a_decoder_that_takes_no_logit_index_gives_the_rows_that_are_wanted():
    class Foreign(Decode):
        reads = tuple(port for port in Decode.reads if port.name != "logit_index")
        writes = (Port("logits", "float64", ("B", "S", "V")),)

        def __call__(self, ports):
            count = ports["inputs_embeds"].shape[1]
            return super().__call__({**ports, "logit_index": np.arange(count)[None]})

    pipeline = FakePipeline(fake_stages(replace={"decode": Foreign()}), chunk=4)
    same(pipeline.logits(TEXT, IMAGES, tail=3), FakePipeline().logits(TEXT, IMAGES, tail=3))


def test_too_few_rows_of_logits_are_an_error():
    class Short(Decode):
        def __call__(self, ports):
            return {"logits": super().__call__(ports)["logits"][:, :1]}

    pipeline = FakePipeline(fake_stages(replace={"decode": Short()}))
    with pytest.raises(PluginError) as error:
        pipeline.logits(TEXT, tail=2)
    assert str(error.value) == "the stages wrote 1 rows of 'logits' where 3 were wanted"


def test_a_stage_is_handed_what_it_declares_and_nothing_else():
    seen = {}

    def look(**ports):
        seen.update({name: (value.dtype.name, value.shape) for name, value in ports.items()})
        return {}

    reads = [
        Port("input_ids", "int64", ("B", "S")),
        Port("position_ids", "int64", (3, "B", "S")),
        Port("image_features", "float64", ("N", "H"), absent=0),
    ]
    pipeline = FakePipeline(fake_stages(("embed", "look", on_span(reads, [], look))), chunk=4)
    pipeline.logits("1", [(2, 4, 1)])
    # begin, image, image, end | 1: the second slice has no visual row.
    assert seen == {
        "input_ids": ("int64", (1, 1)),
        "position_ids": ("int64", (3, 1, 1)),
        "image_features": ("float64", (0, HIDDEN)),
    }


def test_a_mask_that_is_called_otherwise_in_the_graph_is_fed_all_the_same():
    class Foreign(Decode):
        reads = tuple(
            Port("mask", port.dtype, port.axes) if port.name == "attention_mask" else port
            for port in Decode.reads
        )

        def __call__(self, ports):
            return super().__call__({**ports, "attention_mask": ports["mask"]})

    changes = {"decode": {"ports": {"mask": PortChange("attention_mask")}}}
    pipeline = FakePipeline(fake_stages(replace={"decode": Foreign()}), changes=changes)
    same(pipeline.logits(TEXT, IMAGES), FakePipeline().logits(TEXT, IMAGES))


def test_renamed_ports_reach_a_stage_under_its_own_names():
    class Foreign(Embed):
        reads = (Port("ids", "int64", ("batch", "sequence")),)
        writes = (Port("vectors", "float64", ("batch", "sequence", HIDDEN)),)

        def __call__(self, ports):
            return {"vectors": super().__call__({"input_ids": ports["ids"]})["inputs_embeds"]}

    changes = {
        "embed": {
            "ports": {
                "ids": PortChange("input_ids", axes=("B", "S")),
                "vectors": PortChange("inputs_embeds", axes=("B", "S", HIDDEN)),
            }
        }
    }
    pipeline = FakePipeline(fake_stages(replace={"embed": Foreign()}), changes=changes)
    same(pipeline.logits(TEXT, IMAGES), FakePipeline().logits(TEXT, IMAGES))


# What enters


def test_a_port_that_only_media_bring_is_zero_at_all_other_tokens():
    area = FakeStage(
        [Port("image_grid_thw", "int64", ("images", 3)), Port("visual_index", "int64", ("S",))],
        [Port("area", "float32", ("S",))],
        lambda image_grid_thw, visual_index: {
            "area": np.where(visual_index >= 0, image_grid_thw.prod(), 1).astype(np.float32)
        },
    )
    seen = []
    look = on_span(
        [Port("area", "float32", ("B", "S"), absent=0)],
        [],
        lambda area: seen.extend(area[0].tolist()) or {},
    )
    pipeline = FakePipeline(fake_stages(("mrope", "area", area), ("area", "look", look)))
    sequence = pipeline.sequence("1 2")
    image = pipeline.prompt("", [(2, 4, 1)])
    sequence.append(image.tokens, image.media)
    sequence.append([3])
    pipeline.forward(sequence)
    # Two tokens of text; begin, two rows, end; one token of text.
    assert seen == [0, 0, 1, 8, 8, 1, 0]


def test_next_positions_are_counted_by_the_core_where_no_stage_writes_them():
    ids = Port("input_ids", "int64", ("B", "S"))
    speak = on_span(
        [ids],
        [Port("logits", "float64", ("B", "S", "V"))],
        lambda input_ids: {"logits": np.eye(32)[input_ids]},
    )
    pipeline = FakePipeline([("speak", speak)])
    sequence = pipeline.sequence("1 2 3")
    pipeline.forward(sequence)
    sequence.append([4])
    pipeline.forward(sequence)
    assert sequence.table["next_position"].values.tolist() == [1, 2, 3, 4]


# Media


def test_media_are_computed_on_demand_and_once_for_each_content():
    pipeline = FakePipeline()
    prompt = pipeline.prompt("1", [IMAGES[0], IMAGES[1], IMAGES[0]])
    assert pipeline.processor.computed == []
    sequence = pipeline.executor.sequence()
    sequence.append(prompt.tokens, prompt.media)
    first = pipeline.forward(sequence)
    vision = pipeline.stages["vision"]
    assert vision.runs == [2], "both images in one run, the third is the first"
    # Another request: its grids are needed for positions, its features are known.
    same(pipeline.logits("1", [IMAGES[0], IMAGES[1], IMAGES[0]]), first)
    assert vision.runs == [2]


def test_text_alone_computes_nothing_of_media():
    pipeline = FakePipeline()
    pipeline.logits(TEXT)
    assert pipeline.stages["vision"].runs == []
    assert pipeline.processor.computed == []


def test_one_image_more_runs_the_vision_encoder_on_that_one():
    pipeline = FakePipeline()
    pipeline.logits("1", [IMAGES[0]])
    pipeline.logits("1", IMAGES)
    assert pipeline.stages["vision"].runs == [1, 1]


def test_the_same_image_twice_in_a_prompt_has_its_features_at_both_places():
    pipeline = FakePipeline()
    twice = pipeline.logits("1", [IMAGES[0], IMAGES[0]])
    # An image of another digest and the same pixels.
    prompt = pipeline.prompt("1", [IMAGES[0], IMAGES[0]])
    again = Media("image", "another", prompt.media[1].at, prompt.media[0].compute)
    sequence = pipeline.executor.sequence()
    sequence.append(prompt.tokens, [prompt.media[0], again])
    same(pipeline.forward(sequence), twice)


def test_a_port_that_a_stage_rewrites_is_what_later_stages_read():
    patches = Port("pixel_values", "float32", ("patches", PATCH))
    darken = FakeStage(
        [patches], [patches], lambda pixel_values: {"pixel_values": pixel_values * np.float32(0.25)}
    )
    pipeline = FakePipeline(fake_stages((None, "darken", darken)))
    prompt = pipeline.prompt("1", IMAGES)
    quarter = [
        Media(
            "image",
            f"quarter {number}",
            item.at,
            lambda item=item: {
                **item.ports,
                "pixel_values": item.ports["pixel_values"] * np.float32(0.25),
            },
        )
        for number, item in enumerate(prompt.media)
    ]
    plain = FakePipeline()
    sequence = plain.executor.sequence()
    sequence.append(prompt.tokens, quarter)
    same(pipeline.logits("1", IMAGES), plain.forward(sequence))


def test_features_that_are_kept_cannot_be_written_by_the_next_stage():
    features = Port("image_features", "float64", ("N", "H"))

    def spoil(image_features, input_ids):
        image_features *= 2
        return {"image_features": image_features}

    ids = Port("input_ids", "int64", ("S",))
    stage = FakeStage([features, ids], [features], spoil)
    pipeline = FakePipeline(fake_stages(("vision", "spoil", stage)))
    with pytest.raises(PluginError) as error:
        pipeline.logits("1", [IMAGES[0]])
    assert str(error.value) == "stage spoil raised ValueError: output array is read-only"


@pytest.mark.parametrize("when", list(When))
def test_token_ids_cannot_be_written_by_a_stage(when):
    def spoil(input_ids):
        input_ids += 1

    stage = FakeStage([Port("input_ids", "int64", ("S",))], [], spoil, when=when)
    pipeline = FakePipeline(fake_stages(("mrope", "spoil", stage)))
    with pytest.raises(PluginError, match="stage spoil raised ValueError: output array is read-"):
        pipeline.logits("1 2 3")


def test_a_stage_over_features_runs_without_the_stage_before_it_once_they_are_known():
    features = Port("image_features", "float64", ("N", "H"))
    double = FakeStage(
        [features], [features], lambda image_features: {"image_features": 2 * image_features}
    )
    pipeline = FakePipeline(fake_stages(("vision", "double", double)))
    prompt = pipeline.prompt("1", IMAGES)
    first = pipeline.logits("1", IMAGES)
    pipeline.executor.features._drop(("double", prompt.media[0].digest))
    same(pipeline.logits("1", IMAGES), first)
    assert pipeline.stages["vision"].runs == [2]
    assert double.runs == 2


def test_wrong_media_name_what_is_wrong():
    def ports(**changes):
        good = {
            "pixel_values": np.zeros((8, PATCH), np.float32),
            "image_grid_thw": np.array([[1, 2, 4]]),
        }
        return {name: value for name, value in {**good, **changes}.items() if value is not None}

    def raises():
        raise OSError("disk on fire")

    def fail(compute):
        pipeline = FakePipeline()
        sequence = pipeline.executor.sequence()
        item = Media("image", "x", np.array([0, 1]), compute)
        sequence.append([28, 28, 1], [item])
        with pytest.raises((PluginError, InputError)) as error:
            pipeline.forward(sequence)
        assert sequence.entered == 0
        return str(error.value)

    assert fail(lambda: ports(image_grid_thw=None)) == (
        "the processor offers 'image_grid_thw' and did not compute it"
    )
    assert fail(raises) == "the processor raised OSError for an image: disk on fire"
    assert fail(lambda: ports(pixel_values=np.zeros((12, PATCH), np.float32))) == (
        "vision wrote 3 rows of 'image_features' for media that have 2 of them; the stage and the "
        "processor disagree on how many rows an image has"
    )
    assert fail(lambda: ports(image_grid_thw=np.array([[1, 4, 4]]))) == (
        "mrope: an image of 2 x 2 merged patches has no 4 tokens in a row; a stage that drops "
        "visual rows must come after mrope"
    )


# What a stage gives is checked

TOKENS = Port("input_ids", "int64", ("S",))
NOTE = Port("note", "float32", ("S",))


def note_with(call):
    """What is said of a stage that should write one float32 per token, of three."""
    note = FakeStage([TOKENS], [NOTE], call)
    changes = {"note": {"ignore": ("note",)}}
    pipeline = FakePipeline(fake_stages(("mrope", "note", note)), changes=changes)
    sequence = pipeline.sequence("1 2 3")
    with pytest.raises(PluginError) as error:
        pipeline.forward(sequence)
    assert (sequence.entered, len(sequence), sequence.table) == (0, 3, {}), "nothing has entered"
    return str(error.value)


def test_a_stage_that_breaks_its_word_is_named():
    half = np.zeros(3, np.float16)
    assert note_with(lambda input_ids: {}) == "stage note wrote [], but declares ['note']"
    assert note_with(lambda input_ids: {"note": half, "more": half}) == (
        "stage note wrote ['more', 'note'], but declares ['note']"
    )
    assert note_with(lambda input_ids: None) == "stage note wrote NoneType, but declares ['note']"
    assert note_with(lambda input_ids: {"note": half}) == (
        "stage note wrote 'note' as float16 [3], but declares note float32 [S]"
    )
    assert note_with(lambda input_ids: {"note": np.zeros((1, 3), np.float32)}) == (
        "stage note wrote 'note' as float32 [1, 3], but declares note float32 [S]"
    )
    assert note_with(lambda input_ids: {"note": np.zeros(2, np.float32)}) == (
        "stage note wrote 'note' with 2 tokens, where 3 entered"
    )
    assert note_with(lambda input_ids: {"note": [0.0, 0.0, 0.0]}) == (
        "stage note wrote 'note' as list; a numpy array is needed, or a tensor in the memory of "
        "the CPU with __dlpack__"
    )
    assert note_with(lambda input_ids: {"note": 1 / 0}) == (
        "stage note raised ZeroDivisionError: division by zero"
    )


def test_a_tensor_of_another_library_is_taken_by_dlpack():
    class Tensor:
        def __init__(self, array):
            self.array = array

        def __dlpack__(self, **how):
            return self.array.__dlpack__(**how)

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    class Foreign(Embed):
        def __call__(self, ports):
            return {"inputs_embeds": Tensor(super().__call__(ports)["inputs_embeds"])}

    pipeline = FakePipeline(fake_stages(replace={"embed": Foreign()}))
    same(pipeline.logits(TEXT, IMAGES), FakePipeline().logits(TEXT, IMAGES))


def test_two_absent_ports_of_one_name_have_their_own_values():
    seen = {}

    def look(label):
        def call(hint):
            seen[label] = (hint.dtype.name, hint.tolist())
            return {}

        return call

    stages = [
        (label, on_span([Port("hint", dtype, ("B", "S"), absent=value)], [], look(label)))
        for label, dtype, value in (("one", "float32", 1), ("two", "float16", 2))
    ]
    pipeline = FakePipeline([*fake_stages(), *stages])
    pipeline.logits("1 2")
    assert seen == {"one": ("float32", [[1, 1]]), "two": ("float16", [[2, 2]])}


# Faults leave things as they were


def test_a_stage_that_fails_leaves_all_caches_of_equal_length():
    class Second(Decode):
        reads = tuple(port for port in Decode.reads)
        writes = (Port("second", "float64", ("B", "R", 32)),)

        def __call__(self, ports):
            return {"second": super().__call__(ports)["logits"]}

    second = Second()
    items = fake_stages(("decode", "second", second))
    pipeline = FakePipeline(items, changes={"second": {"ignore": ("second",)}}, chunk=4)
    sequence = pipeline.sequence("1 2 3 4 5 6")
    second.fails_at = 5
    with pytest.raises(PluginError) as error:
        pipeline.forward(sequence)
    assert str(error.value) == "stage second raised ArithmeticError: the numbers do not add up"
    assert sequence.forwarded == 4
    assert [len(slot.index) for slot in sequence.caches.values()] == [4, 4]
    # What failed may be tried again.
    second.fails_at = None
    same(pipeline.forward(sequence), FakePipeline().logits("1 2 3 4 5 6"))


def test_what_fails_to_enter_may_be_tried_again():
    note = FakeStage([TOKENS], [NOTE], lambda input_ids: {"note": np.zeros(2, np.float32)})
    changes = {"note": {"ignore": ("note",)}}
    pipeline = FakePipeline(fake_stages(("mrope", "note", note)), changes=changes)
    sequence = pipeline.sequence("1 2")
    sequence.append([3, 4, 5])
    for _ in range(2):
        with pytest.raises(PluginError, match="where 3 entered"):
            pipeline.forward(sequence)
        assert (sequence.entered, len(sequence)) == (2, 5)
    note.call = lambda input_ids: {"note": np.zeros(len(input_ids), np.float32)}
    same(pipeline.forward(sequence), FakePipeline().logits("1 2 3 4 5"))


# One port


@pytest.mark.parametrize(
    ("port", "shape", "runs"),
    [
        ("input_ids", (11,), []),
        ("visual_index", (11,), []),
        ("start_position", (1,), []),
        ("pixel_values", (28, PATCH), []),
        ("image_features", (7, HIDDEN), ["vision"]),
        ("deepstack_features", (2, 7, HIDDEN), ["vision"]),
        ("position_ids", (3, 11), ["vision", "mrope"]),
        ("next_position", (11,), ["vision", "mrope"]),
        ("logit_index", (1,), ["vision", "mrope"]),
        ("inputs_embeds", (1, 11, HIDDEN), ["vision", "mrope", "embed", "merge"]),
        ("deepstack_embeds", (2, 1, 11, HIDDEN), ["vision", "mrope", "embed", "merge"]),
        ("logits", (1, 1, 32), ["vision", "mrope", "embed", "merge", "decode"]),
    ],
)
def test_a_port_is_computed_without_the_stages_after_it(port, shape, runs):
    ran = []
    items = []
    for label, stage in fake_stages():
        kind = type(stage)

        def call(self, ports, label=label, kind=kind):
            ran.append(label)
            return kind.__call__(self, ports)

        watched = type(kind.__name__, (kind,), {"__call__": call})
        stage.__class__ = watched
        items.append((label, stage))
    pipeline = FakePipeline(items)
    found = pipeline.executor.probe(pipeline.prompt("", IMAGES), port)
    assert found[port].shape == shape
    assert ran == runs
    assert pipeline.leased == 0


def test_the_port_that_a_later_stage_rewrites_has_its_last_value():
    plain, merged = (
        FakePipeline(items).executor
        for items in (
            [item for item in fake_stages() if item[0] not in {"vision", "merge"}],
            fake_stages(),
        )
    )
    pipeline = FakePipeline()
    prompt = pipeline.prompt("1", [IMAGES[0]])
    before = plain.probe(prompt, "inputs_embeds")["inputs_embeds"]
    after = merged.probe(prompt, "inputs_embeds")["inputs_embeds"]
    visual = merged.probe(prompt, "visual_index")["visual_index"] >= 0
    same(after[:, ~visual], before[:, ~visual])
    features = pipeline.executor.probe(prompt, "image_features")["image_features"]
    same(after[0, visual], features)


def test_a_reducer_changes_what_is_in_the_ports_it_reduces():
    prune = FakeStage(
        [Port("image_features", "float64", ("N", "H"))],
        [Port("keep_rows", "bool", ("N",))],
        lambda image_features: {"keep_rows": np.arange(len(image_features)) < 3},
    )
    pipeline = FakePipeline(fake_stages(("mrope", "prune", prune)))
    prompt = pipeline.prompt("1", [IMAGES[0]])
    assert pipeline.executor.probe(prompt, "image_features")["image_features"].shape == (3, HIDDEN)
    assert pipeline.executor.probe(prompt, "position_ids")["position_ids"].shape == (3, 6)
    assert pipeline.executor.probe(prompt, "image_grid_thw")["image_grid_thw"].shape == (1, 3)


def test_a_prompt_that_a_cache_does_not_take_at_once_is_refused_before_the_spans():
    pipeline = FakePipeline(policy=Window(Window.Settings(size=4, sinks=1, slack=1)))
    with pytest.raises(InputError) as error:
        pipeline.executor.probe(pipeline.prompt(TEXT + " 8"), "logits")
    assert str(error.value) == (
        "the prompt has 8 tokens, and the cache takes 6 at once; shorten it, or choose another "
        "cache"
    )
    assert pipeline.leased == 0


def test_all_names_of_ports_are_known():
    names = FakePipeline().executor.port_names()
    assert names >= {"input_ids", "logit_index", "pixel_values", "position_ids", "logits"}
    assert "past.key" not in names


def test_seconds_are_counted_for_media_and_for_slices():
    pipeline = FakePipeline()
    clock = Clock()
    sequence = pipeline.sequence("1", IMAGES)
    pipeline.executor.enter(sequence, clock)
    assert clock.vision > 0
    assert clock.forward == 0
    pipeline.executor.forward(sequence, len(sequence), 1, clock)
    assert clock.forward > 0


def test_a_prompt_of_an_image_alone_can_be_forwarded():
    pipeline = FakePipeline()
    prompt = Numbers().prompt(type("R", (), {"messages": None, "images": [IMAGES[0]], "text": ""}))
    bare = Prompt(prompt.tokens[1:-1], tuple(item.moved(-1) for item in prompt.media))
    sequence = pipeline.executor.sequence()
    sequence.append(bare.tokens, bare.media)
    assert np.isfinite(pipeline.forward(sequence, rows=4)).all()
