"""A token of a reply enters a sequence as with others; that it is prepared shows nowhere."""

import numpy as np
import pytest

from tests.fakes import FakePipeline, FakeStage, fake_stages, same
from triptych import PluginError
from triptych.core.ports import Port, When

IDS = Port("input_ids", "int64", ("S",))


def after_positions(reads, writes, call):
    """The stages, and one more on INPUT."""
    return fake_stages(("mrope", "more", FakeStage(reads, writes, call, when=When.INPUT)))


def columns(sequence):
    return {name: column.values.tolist() for name, column in sequence.table.items()}


@pytest.mark.parametrize("images", [[], [(4, 4, 1)]])
def test_tokens_that_enter_one_by_one_fill_the_table_like_those_that_enter_together(images):
    one, other = FakePipeline(), FakePipeline()
    apart, together = one.sequence("1 2 3", images), other.sequence("1 2 3", images)
    one.forward(apart)
    other.forward(together)
    for token in (4, 5, 6):
        apart.append([token])
        logits = one.forward(apart)
    together.append([4, 5, 6])
    same(logits, other.forward(together))
    assert columns(apart) == columns(together)
    assert apart.entered == together.entered == len(apart)


def test_a_column_of_a_stage_that_text_skips_gets_zeros():
    def weigh(input_ids, image_features):
        return {"weight": np.ones(len(input_ids))}

    features, weight = (
        Port("image_features", "float64", ("N", "H")),
        Port("weight", "float64", ("S",)),
    )
    weighs = FakeStage([IDS, features], [weight], weigh)
    reads = FakeStage(
        [Port("weight", "float64", ("B", "S"))], [], lambda weight: {}, when=When.SPAN
    )
    pipeline = FakePipeline(fake_stages(("mrope", "weigh", weighs), ("embed", "read", reads)))
    sequence = pipeline.sequence("1 2 3", [(4, 4, 1)])
    pipeline.forward(sequence)
    before = sequence.entered
    sequence.append([4])
    pipeline.forward(sequence)
    assert sequence.table["weight"].values.tolist() == [1.0] * before + [0.0]
    assert weighs.runs == 1


def test_what_a_stage_fails_on_stays_and_the_table_is_as_it_was():
    def fail(input_ids):
        if input_ids[-1] == 9:
            raise ValueError("nine")
        return {}

    pipeline = FakePipeline(after_positions([IDS], [], fail))
    sequence = pipeline.sequence("1 2 3")
    pipeline.forward(sequence)
    before = columns(sequence)
    sequence.append([9])
    with pytest.raises(PluginError, match="nine"):
        pipeline.forward(sequence)
    assert columns(sequence) == before
    assert (sequence.entered, len(sequence)) == (3, 4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"weight": np.ones(2)}, "'weight' with 2 tokens, where 1 entered"),
        ({"weight": np.ones(1, np.float32)}, "'weight' as float32"),
        ({"weight": np.ones((1, 1))}, r"'weight' as float64 \[1, 1\]"),
        ({}, r"wrote \[\], but declares \['weight'\]"),
        ({"weight": np.ones(1), "more": np.ones(1)}, r"wrote \['more', 'weight'\]"),
    ],
)
def test_a_stage_that_was_right_for_some_tokens_is_checked_for_the_next(wrong, message):
    def weigh(input_ids):
        return wrong if input_ids[-1] == 9 else {"weight": np.ones(len(input_ids))}

    stages = after_positions([IDS], [Port("weight", "float64", ("S",))], weigh)
    reads = FakeStage(
        [Port("weight", "float64", ("B", "S"))], [], lambda weight: {}, when=When.SPAN
    )
    pipeline = FakePipeline([*stages, ("read", reads)])
    sequence = pipeline.sequence("1 2 3")
    pipeline.forward(sequence)
    for token in (4, 5):
        sequence.append([token])
        pipeline.forward(sequence)
    before = columns(sequence)
    sequence.append([9])
    with pytest.raises(PluginError, match=message):
        pipeline.forward(sequence)
    assert columns(sequence) == before


@pytest.mark.parametrize("left", [(), ("weight",)])
@pytest.mark.parametrize("foreign", [("more",), ("weight", "more")])
def test_a_tensor_that_a_stage_leaves_out_is_missed_beside_those_of_other_libraries(left, foreign):
    class Tensor:
        """Another library's."""

        def __init__(self, values):
            self.values = values

        def __dlpack__(self, **how):
            return self.values.__dlpack__(**how)

        def __dlpack_device__(self):
            return self.values.__dlpack_device__()

    def weigh(input_ids):
        values = np.ones(len(input_ids))
        written = {name: Tensor(values) if name in foreign else values for name in names}
        return {name: written[name] for name in left} if input_ids[-1] == 9 else written

    names = ("weight", "more")
    stages = after_positions([IDS], [Port(name, "float64", ("S",)) for name in names], weigh)
    reads = FakeStage(
        [Port(name, "float64", ("B", "S")) for name in names],
        [],
        lambda weight, more: {},
        when=When.SPAN,
    )
    pipeline = FakePipeline([*stages, ("read", reads)])
    sequence = pipeline.sequence("1 2 3")
    pipeline.forward(sequence)
    sequence.append([4])
    pipeline.forward(sequence)
    sequence.append([9])
    with pytest.raises(PluginError, match=r"wrote .*, but declares \['more', 'weight'\]"):
        pipeline.forward(sequence)


def test_a_stage_cannot_write_to_what_it_is_fed():
    def overwrite(input_ids):
        if len(input_ids) == 1:
            input_ids[...] = 0
        return {}

    pipeline = FakePipeline(after_positions([IDS], [], overwrite))
    sequence = pipeline.sequence("1 2 3")
    pipeline.forward(sequence)
    sequence.append([4])
    with pytest.raises(PluginError, match="read-only"):
        pipeline.forward(sequence)


def test_a_stage_that_keeps_a_cache_cannot_write_to_what_it_is_fed():
    pipeline = FakePipeline()
    decode = pipeline.stages["decode"]
    sequence = pipeline.sequence("1 2 3")
    pipeline.forward(sequence)
    call = type(decode).__call__

    class Greedy(type(decode)):
        def __call__(self, ports):
            ports["inputs_embeds"] = 0
            return call(self, ports)

    decode.__class__ = Greedy
    sequence.append([4])
    with pytest.raises(PluginError, match="does not support item assignment"):
        pipeline.forward(sequence)
