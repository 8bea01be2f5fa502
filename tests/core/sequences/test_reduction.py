"""Visual rows that are dropped or merged go from every port at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import HIDDEN, FakePipeline, FakeStage, fake_stages, same
from triptych import PluginError
from triptych.core.config_error import ConfigError
from triptych.core.execution.execution import Clock
from triptych.core.ports import Port
from triptych.core.sequences.reduction import ReductionError, keep_rows, merge_rows

IMAGES = [(4, 4, 1), (2, 6, 2)]
DECLARED = {
    "visual_index": Port("visual_index", "int64", ("S",)),
    "ids": Port("ids", "int64", ("S",)),
    "places": Port("places", "int64", (3, "S")),
    "features": Port("features", "float32", ("N", "H")),
    "layers": Port("layers", "float16", ("K", "N", "H")),
    "labels": Port("labels", "int64", ("N",)),
    "grid": Port("grid", "int64", ("images", 3)),
}


def some_ports(visual, seed=0):
    """A port of every kind, over tokens of which some are visual."""
    rng = np.random.default_rng(seed)
    visual = np.asarray(visual, bool)
    tokens, rows = len(visual), int(visual.sum())
    return {
        "visual_index": np.where(visual, np.cumsum(visual) - 1, -1),
        "ids": rng.integers(0, 9, tokens),
        "places": rng.integers(0, 9, (3, tokens)),
        "features": rng.normal(size=(rows, 4)).astype(np.float32),
        "layers": rng.normal(size=(2, rows, 4)).astype(np.float16),
        "labels": rng.integers(0, 9, rows),
        "grid": np.array([[1, 2, 3]]),
    }


visuals = st.lists(st.booleans(), min_size=1, max_size=12)


@given(visuals, st.data())
def test_dropped_rows_are_dropped_with_their_tokens(visual, data):
    ports = some_ports(visual)
    rows = sum(visual)
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=rows, max_size=rows)), bool)
    kept = keep_rows(ports, DECLARED, keep)
    # One token after the other, by hand.
    tokens = [s for s, row in enumerate(ports["visual_index"]) if row < 0 or keep[row]]
    left = [row for row in range(rows) if keep[row]]
    assert kept["ids"].tolist() == [ports["ids"][s] for s in tokens]
    assert kept["places"].T.tolist() == [ports["places"][:, s].tolist() for s in tokens]
    assert kept["visual_index"].tolist() == [
        left.index(ports["visual_index"][s]) if ports["visual_index"][s] >= 0 else -1
        for s in tokens
    ]
    assert kept["features"].tolist() == [ports["features"][row].tolist() for row in left]
    assert kept["layers"].tolist() == ports["layers"][:, left].tolist()
    assert kept["labels"].tolist() == [ports["labels"][row] for row in left]
    assert kept["grid"] is ports["grid"]
    assert {name: value.dtype for name, value in kept.items()} == {
        name: value.dtype for name, value in ports.items()
    }


@given(visuals)
def test_keeping_every_row_is_an_identity(visual):
    ports = some_ports(visual)
    rows = sum(visual)
    weights = np.full(rows, 0.3, np.float32)
    for same_ports in (
        keep_rows(ports, DECLARED, np.ones(rows, bool)),
        merge_rows(ports, DECLARED, np.arange(rows), weights),
    ):
        for name, value in ports.items():
            np.testing.assert_array_equal(same_ports[name], value, name)


@given(visuals, st.data())
def test_merged_rows_are_weighted_averages_and_keep_the_targets_integers(visual, data):
    ports = some_ports(visual)
    rows = sum(visual)
    stays = np.array(data.draw(st.lists(st.booleans(), min_size=rows, max_size=rows)), bool)
    if rows:
        stays[data.draw(st.integers(0, rows - 1))] = True
    left = np.flatnonzero(stays)
    target = np.array(
        [row if stays[row] else data.draw(st.sampled_from(left.tolist())) for row in range(rows)],
        np.int64,
    )
    weights = np.array(
        data.draw(st.lists(st.floats(0.125, 4, width=32), min_size=rows, max_size=rows)), np.float32
    )
    merged = merge_rows(ports, DECLARED, target, weights)
    for place, row in enumerate(left):
        joins = target == row
        for name, axis, tolerance in (("features", 0, 1e-6), ("layers", 1, 2e-3)):
            parts = np.moveaxis(ports[name], axis, 0)[joins]
            mean = np.average(parts.astype(float), axis=0, weights=weights[joins])
            result = np.moveaxis(merged[name], axis, 0)[place]
            np.testing.assert_allclose(result, mean, atol=tolerance)
    assert merged["labels"].tolist() == ports["labels"][left].tolist()
    kept = keep_rows(ports, DECLARED, stays)
    for name in ("ids", "places", "visual_index"):
        np.testing.assert_array_equal(merged[name], kept[name])


@pytest.mark.parametrize(
    ("target", "weights", "message"),
    [
        ([1, 2, 2], [1, 1, 1], "merge_rows in which a row joins one that does not stay itself"),
        ([0, 3, 2], [1, 1, 1], "merge_rows in which a row joins one that does not stay itself"),
        ([0, -1, 2], [1, 1, 1], "merge_rows in which a row joins one that does not stay itself"),
        ([0, 0, 2], [1, 0, 1], "merge_weights that are not above zero"),
        ([0, 0, 2], [1, -1, 1], "merge_weights that are not above zero"),
        ([0, 0, 2], [1, np.nan, 1], "merge_weights that are not above zero"),
        ([0, 0, 2], [1, np.inf, 1], "merge_weights that are not above zero"),
    ],
)
def test_mergers_that_mean_nothing_are_refused(target, weights, message):
    ports = some_ports([True, True, True])
    with pytest.raises(ReductionError) as error:
        merge_rows(ports, DECLARED, np.array(target), np.array(weights, np.float32))
    assert str(error.value) == message


# In a pipeline

FEATURES = Port("image_features", "float64", ("N", "H"))
KEEP = Port("keep_rows", "bool", ("N",))
MERGE = (Port("merge_rows", "int64", ("N",)), Port("merge_weights", "float32", ("N",)))


def keeps(choose):
    return FakeStage(
        [FEATURES], [KEEP], lambda image_features: {"keep_rows": choose(len(image_features))}
    )


def merges(choose):
    def call(image_features):
        target, weights = choose(len(image_features))
        return {"merge_rows": target, "merge_weights": np.asarray(weights, np.float32)}

    return FakeStage([FEATURES], MERGE, call)


IDENTITIES = {
    "keep": keeps(lambda rows: np.ones(rows, bool)),
    "merge": merges(lambda rows: (np.arange(rows), np.ones(rows))),
}


@pytest.mark.parametrize("stage", IDENTITIES.values(), ids=IDENTITIES.keys())
def test_a_reducer_that_keeps_everything_changes_nothing(stage):
    pipeline = FakePipeline(fake_stages(("mrope", "reduce", stage)))
    same(pipeline.logits("1 2 3", IMAGES, tail=5), FakePipeline().logits("1 2 3", IMAGES, tail=5))


def pruned_by_hand(text, images, keep, *, tail=0):
    """Logits of a run on inputs that were pruned before: no reducer, no visual row to find."""
    whole = FakePipeline()
    prompt = whole.prompt(text, images)
    ports = whole.executor.probe(prompt, "next_position") | whole.executor.probe(
        prompt, "deepstack_embeds"
    )
    visual = ports["visual_index"]
    tokens = (visual < 0) | keep[visual]
    embeds = whole.executor.probe(prompt, "inputs_embeds")["inputs_embeds"][:, tokens]
    layers = ports["deepstack_embeds"][:, :, tokens]
    positions = ports["position_ids"][:, tokens]
    count = int(tokens.sum())
    decode = whole.stages["decode"]
    cache = whole.caches["decode"]
    binding = cache.bind([cache.lease()], [np.arange(count)])
    written = decode(
        {
            "inputs_embeds": embeds,
            "deepstack_embeds": layers,
            "position_ids": positions[:, None],
            "logit_index": np.arange(count - 1 - tail, count)[None],
            **binding.pasts,
            **binding.ports,
        }
    )
    return written["logits"][0]


@pytest.mark.parametrize("chunk", [None, 1, 3, 7])
@pytest.mark.parametrize("nth", [2, 3, 100])
def test_a_pruned_prompt_equals_a_run_on_inputs_pruned_by_hand(nth, chunk):
    def choose(rows):
        return np.arange(rows) % nth == 1

    pipeline = FakePipeline(fake_stages(("mrope", "prune", keeps(choose))), chunk=chunk)
    pruned = pipeline.logits("1 2 3", IMAGES, tail=2)
    by_image = np.concatenate([choose(4), choose(3)])
    same(pruned, pruned_by_hand("1 2 3", IMAGES, by_image, tail=2))
    assert np.abs(pruned - FakePipeline().logits("1 2 3", IMAGES, tail=2)).max() > 0.01


def test_what_is_generated_after_a_pruned_prompt_keeps_its_place():
    pipeline = FakePipeline(
        fake_stages(("mrope", "prune", keeps(lambda rows: np.arange(rows) == 2)))
    )
    sequence = pipeline.sequence("1 2", IMAGES)
    pipeline.forward(sequence)
    whole = FakePipeline().sequence("1 2", IMAGES)
    FakePipeline().executor.enter(whole, Clock())
    sequence.append([5])
    pipeline.forward(sequence)
    column = sequence.table["position_ids"].values
    assert column[:, -1].tolist() == [whole.table["next_position"].values[-1]] * 3
    assert sequence.table["source"].values.tolist()[-1] == len(whole)


def test_reducers_that_follow_each_other_see_what_is_left():
    seen = []

    def half(rows):
        seen.append(rows)
        return np.arange(rows) % 2 == 0

    pipeline = FakePipeline(
        fake_stages(("mrope", "first", keeps(half)), ("first", "second", keeps(half)))
    )
    pipeline.logits("1", IMAGES)
    assert seen == [4, 3, 2, 2]


def test_merged_rows_reach_the_decoder():
    def to_first(rows):
        return np.zeros(rows, np.int64), np.ones(rows)

    pipeline = FakePipeline(fake_stages(("mrope", "merge_all", merges(to_first))))
    sequence = pipeline.sequence("1", IMAGES)
    pipeline.executor.enter(sequence, Clock())
    whole = FakePipeline().executor.probe(pipeline.prompt("1", IMAGES), "image_features")
    features = whole["image_features"]
    means = [features[:4].mean(0), features[4:].mean(0)]
    same(sequence.rows["image_features"].values, np.stack(means))
    assert sequence.rows["deepstack_features"].values.shape == (2, 2, HIDDEN)
    # Of each image the first visual row is left.
    assert sequence.table["visual_index"].values.tolist() == [-1, 0, -1, -1, 1, -1, -1]
    assert np.isfinite(pipeline.forward(sequence)).all()


def test_dropping_every_row_leaves_text():
    pipeline = FakePipeline(
        fake_stages(("mrope", "prune", keeps(lambda rows: np.zeros(rows, bool))))
    )
    sequence = pipeline.sequence("1 2", IMAGES)
    assert np.isfinite(pipeline.forward(sequence)).all()
    assert len(sequence) == 6
    sequence.append([3])
    assert np.isfinite(pipeline.forward(sequence)).all()


def test_a_reducer_is_skipped_for_text():
    stage = keeps(lambda rows: pytest.fail("ran"))
    FakePipeline(fake_stages(("mrope", "prune", stage))).logits("1 2 3")


DIGEST, SOURCE_ROW, MEDIA_INDEX = (
    Port("media_digest", "uint8", ("N", 16)),
    Port("source_row", "int64", ("N",)),
    Port("media_index", "int64", ("N",)),
)
TOKENS = Port("visual_index", "int64", ("S",))


def watches(reads, seen):
    """A reducer that keeps every other row, and notes what it was given."""

    def call(**ports):
        seen.append({name: value.tolist() for name, value in ports.items()})
        return {"keep_rows": np.arange(len(ports["image_features"])) % 2 == 0}

    return FakeStage([FEATURES, *reads], [KEEP], call)


def test_a_reducer_looks_at_one_image_at_a_time():
    seen = []
    grids = Port("image_grid_thw", "int64", ("images", 3))
    pipeline = FakePipeline(
        fake_stages(("mrope", "prune", watches([grids, SOURCE_ROW, DIGEST], seen)))
    )
    prompt = pipeline.prompt("1", [*IMAGES, IMAGES[0]])
    pipeline.executor.probe(prompt, "next_position")
    assert [one["image_grid_thw"] for one in seen] == [[[1, 4, 4]], [[1, 2, 6]], [[1, 4, 4]]]
    assert [one["source_row"] for one in seen] == [[0, 1, 2, 3], [0, 1, 2], [0, 1, 2, 3]]
    digests = [[bytes(row).hex() for row in one["media_digest"]] for one in seen]
    assert digests == [[item.digest] * len(item.at) for item in prompt.media]


def test_a_reducer_that_follows_another_knows_which_rows_are_left():
    seen = []
    first = keeps(lambda rows: np.arange(rows) != 1)
    second = watches([SOURCE_ROW], seen)
    pipeline = FakePipeline(fake_stages(("mrope", "first", first), ("first", "second", second)))
    pipeline.logits("1", IMAGES)
    assert [one["source_row"] for one in seen] == [[0, 2, 3], [0, 2]]


def test_an_image_without_rows_is_not_asked_about():
    seen = []
    first = keeps(lambda rows: np.full(rows, rows == 3))
    pipeline = FakePipeline(
        fake_stages(("mrope", "first", first), ("first", "second", watches([SOURCE_ROW], seen)))
    )
    pipeline.logits("1", IMAGES)
    assert [one["source_row"] for one in seen] == [[0, 1, 2]]


def test_a_reducer_that_reads_tokens_sees_all_that_enters():
    seen = []
    stage = watches([TOKENS, MEDIA_INDEX, SOURCE_ROW], seen)
    pipeline = FakePipeline(fake_stages(("mrope", "prune", stage)))
    pipeline.logits("1", IMAGES)
    [one] = seen
    assert one["media_index"] == [0, 0, 0, 0, 1, 1, 1]
    assert one["source_row"] == [0, 1, 2, 3, 0, 1, 2]


def test_what_stays_of_an_image_does_not_depend_on_its_company():
    def strongest(image_features):
        norms = np.linalg.norm(image_features, axis=1)
        return {"keep_rows": norms > np.median(norms)}

    pipeline = FakePipeline(
        fake_stages(("mrope", "prune", FakeStage([FEATURES], [KEEP], strongest)))
    )
    both = pipeline.sequence("1", IMAGES)
    pipeline.executor.enter(both, Clock())
    alone = []
    for image in IMAGES:
        sequence = pipeline.sequence("1", [image])
        pipeline.executor.enter(sequence, Clock())
        alone.append(sequence.rows["image_features"].values)
    same(both.rows["image_features"].values, np.concatenate(alone))


def test_positions_after_a_reducer_are_refused():
    stage = keeps(lambda rows: np.arange(rows) > 0)
    with pytest.raises(ConfigError, match=r"2:5: stages.prune: drops visual rows, and mrope beh"):
        FakePipeline(fake_stages(("vision", "prune", stage)))


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (
            keeps(lambda rows: np.ones(rows + 1, bool)),
            "stage reduce wrote 'keep_rows' with 5 merged visual rows, where 4 entered",
        ),
        (
            keeps(lambda rows: np.ones(rows, np.int64)),
            "stage reduce wrote 'keep_rows' as int64 [4], but declares keep_rows bool [N]",
        ),
        (
            merges(lambda rows: (np.arange(rows), np.ones(3))),
            "stage reduce wrote 'merge_weights' with 3 merged visual rows, where 4 entered",
        ),
        (
            merges(lambda rows: (np.arange(rows), np.zeros(rows))),
            "stage reduce wrote merge_weights that are not above zero",
        ),
        (
            merges(lambda rows: ((np.arange(rows) + 1) % rows, np.ones(rows))),
            "stage reduce wrote merge_rows in which a row joins one that does not stay itself",
        ),
    ],
)
def test_a_reducer_that_breaks_its_word_is_named(stage, message):
    pipeline = FakePipeline(fake_stages(("mrope", "reduce", stage)))
    sequence = pipeline.sequence("1", IMAGES)
    with pytest.raises(PluginError) as error:
        pipeline.forward(sequence)
    assert str(error.value) == message
    assert sequence.entered == 0
