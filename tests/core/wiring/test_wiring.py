"""The wiring check: what fits is wired, and what does not fit is said with its place."""

import pytest

from tests.fakes import (
    HIDDEN,
    Decode,
    Embed,
    FakeStage,
    cache_pair,
    fake_stages,
    fake_wiring,
)
from triptych import ConfigError
from triptych.core.config.part import PortChange
from triptych.core.ports import Port, When

IDS = Port("input_ids", "int64", ("S",))
FEATURES = Port("image_features", "float64", ("N", "H"))
LOGITS = Port("logits", "float32", ("B", "R", "V"))


def on_input(reads, writes, **more):
    return FakeStage(reads, writes, **more)


def on_span(reads, writes, **more):
    return FakeStage(reads, writes, when=When.SPAN, **more)


SPEAKS = on_span([Port("input_ids", "int64", ("B", "S"))], [LOGITS])


def message(items, **more):
    """What is wrong, without the place's file."""
    with pytest.raises(ConfigError) as error:
        fake_wiring(items, **more)
    return str(error.value).removeprefix("pipeline.yaml:")


def by_label(wiring):
    return {wired.label: wired for wired in wiring.stages}


# What fits


def test_the_five_stages_fit():
    wiring = fake_wiring(fake_stages())
    assert [wired.label for wired in wiring.input] == ["vision", "mrope"]
    assert [wired.label for wired in wiring.span] == ["embed", "merge", "decode"]
    assert set(wiring.kept) == {
        "image_features",
        "deepstack_features",
        "position_ids",
        "next_position",
    }
    assert wiring.sizes["H"] == HIDDEN
    assert [wired.label for wired in wiring.stages if wired.per_media] == ["vision"]


def test_stages_on_input_run_first_wherever_they_stand():
    items = fake_stages()
    wiring = fake_wiring([*items[2:], *items[:2]])
    assert [wired.label for wired in wiring.stages] == [
        "vision",
        "mrope",
        "embed",
        "merge",
        "decode",
    ]


def test_a_text_pipeline_is_the_same_list_shorter():
    items = [item for item in fake_stages() if item[0] not in {"vision", "merge"}]
    wiring = fake_wiring(items, offers=())
    assert [wired.label for wired in wiring.stages] == ["mrope", "embed", "decode"]


def test_what_the_processor_offers_may_go_unread():
    items = [item for item in fake_stages() if item[0] not in {"vision", "merge"}]
    assert fake_wiring(items)


def test_the_batch_axis_is_inserted_where_a_reader_declares_it():
    decode = by_label(fake_wiring(fake_stages()))["decode"]
    inserted = {read.name: read.batch_axis for read in decode.reads}
    assert inserted["position_ids"] == 1
    assert inserted["logit_index"] == 0
    assert inserted["inputs_embeds"] is None


def test_a_port_is_renamed_for_the_pipeline_and_keeps_its_name_for_the_stage():
    foreign = on_span(
        [Port("ids", "int64", ("batch", "sequence"))], [Port("out", "float32", ("B", "R", "V"))]
    )
    changes = {
        "speaks": {
            "ports": {
                "ids": PortChange("input_ids", axes=("B", "S")),
                "out": PortChange("logits"),
            }
        }
    }
    [wired] = fake_wiring([("speaks", foreign)], changes=changes, offers=()).span
    [read], [write] = wired.reads, wired.writes
    assert (read.name, read.port) == ("ids", Port("input_ids", "int64", ("B", "S")))
    assert read.batch_axis == 0
    assert (write.name, write.port.name) == ("out", "logits")


def test_an_absent_value_may_come_from_the_item():
    reader = on_span([Port("hint", "float32", ("B", "S"))], [LOGITS])
    changes = {"speaks": {"ports": {"hint": PortChange("hint", absent=0.5)}}}
    [wired] = fake_wiring([("speaks", reader)], changes=changes).span
    assert wired.reads[0].port.absent == 0.5


def test_the_mask_of_a_cache_may_have_another_name_in_the_graph():
    class Foreign(Decode):
        reads = tuple(
            Port("mask", port.dtype, ("batch", "past_and_new"))
            if port.name == "attention_mask"
            else port
            for port in Decode.reads
        )

    changes = {"decode": {"ports": {"mask": PortChange("attention_mask")}}}
    assert fake_wiring(fake_stages(replace={"decode": Foreign()}), changes=changes)


def test_a_stage_may_rewrite_a_port_that_it_reads():
    brighten = on_input(
        [Port("pixel_values", "float32", ("patches", 4))],
        [Port("pixel_values", "float32", ("patches", 4))],
    )
    wiring = by_label(fake_wiring(fake_stages((None, "brighten", brighten))))
    assert wiring["brighten"].per_media
    assert wiring["vision"].per_media


def test_names_of_axes_that_are_nobodys_letters_agree_with_any():
    foreign = on_span(
        [Port("inputs_embeds", "float64", ("batch_size", "sequence_length", HIDDEN))],
        [Port("inputs_embeds", "float64", ("batch_size", "sequence_length", HIDDEN))],
    )
    assert fake_wiring(fake_stages(("embed", "foreign", foreign)))


def test_a_length_of_one_broadcasts():
    reader = on_span([Port("input_ids", "int64", ("B", 1))], [LOGITS])
    assert fake_wiring([("speaks", reader)])


def test_logits_of_the_whole_slice_are_taken_too():
    speaks = on_span([Port("input_ids", "int64", ("B", "S"))], [Port("logits", "float16", "BSV")])
    assert fake_wiring([("speaks", speaks)])


def test_an_output_may_be_ignored():
    extra = on_span([IDS], [Port("entropy", "float32", ("S",))])
    items = [("extra", extra), ("speaks", SPEAKS)]
    assert fake_wiring(items, changes={"extra": {"ignore": ("entropy",)}})


def test_an_output_is_ignored_by_its_name_in_the_pipeline():
    extra = on_span([IDS], [Port("y", "float32", ("S",))])
    items = [("extra", extra), ("speaks", SPEAKS)]
    change = {"ports": {"y": PortChange("entropy")}, "ignore": ("entropy",)}
    assert fake_wiring(items, changes={"extra": change})


# Which stages belong to single media items


def test_a_stage_belongs_to_media_items_when_all_it_reads_does():
    halve = on_input([FEATURES], [FEATURES])
    wiring = by_label(fake_wiring(fake_stages(("vision", "halve", halve))))
    assert wiring["halve"].per_media
    assert not wiring["mrope"].per_media


def test_a_stage_after_one_that_looks_at_the_request_does_not_belong_to_media_items():
    by_request = on_input(
        [Port("pixel_values", "float32", ("patches", 4)), IDS],
        [Port("pixel_values", "float32", ("patches", 4))],
    )
    wiring = by_label(fake_wiring(fake_stages((None, "by_request", by_request))))
    assert not wiring["by_request"].per_media
    assert not wiring["vision"].per_media


def test_a_stage_whose_result_cannot_be_split_by_item_belongs_to_the_request():
    count = on_input(
        [Port("image_grid_thw", "int64", ("images", 3))], [Port("area", "int64", (1,))]
    )
    use = on_input([Port("area", "int64", (1,)), IDS], [Port("bias", "float32", ("S",))])
    items = fake_stages(("vision", "count", count), ("count", "use", use))
    wiring = by_label(fake_wiring(items, changes={"use": {"ignore": ("bias",)}}))
    assert not wiring["count"].per_media


def test_a_reducer_and_what_comes_after_it_belong_to_the_request():
    prune = on_input([FEATURES], [Port("keep_rows", "bool", ("N",))])
    halve = on_input([FEATURES], [FEATURES])
    wiring = by_label(
        fake_wiring(fake_stages(("mrope", "prune", prune), ("prune", "halve", halve)))
    )
    assert wiring["vision"].per_media
    assert not wiring["prune"].per_media
    assert not wiring["halve"].per_media


def test_reducers_may_follow_each_other():
    first, second = (on_input([FEATURES], [Port("keep_rows", "bool", ("N",))]) for _ in range(2))
    assert fake_wiring(fake_stages(("mrope", "first", first), ("first", "second", second)))


# What does not fit


def test_a_port_that_nobody_writes():
    reader = on_span([Port("saliency", "float32", ("B", "S"))], [LOGITS])
    assert message([("speaks", reader)]) == (
        "1:5: stages.speaks: reads 'saliency', which nobody writes\n"
        "  known: input_ids, logit_index, visual_index"
    )


def test_a_port_with_nearly_that_name():
    reader = on_span([Port("inputs_ids", "int64", ("B", "S"))], [LOGITS])
    assert message([("speaks", reader)]) == (
        "1:5: stages.speaks: reads 'inputs_ids', which nobody writes\n"
        "  did you mean 'input_ids'?\n"
        "  known: input_ids, logit_index, visual_index"
    )


def test_a_port_that_is_written_only_later():
    items = fake_stages()
    items[2], items[3] = items[3], items[2]
    assert message(items) == (
        "3:5: stages.merge: reads 'inputs_embeds', which embed writes only after it; change their "
        "order\n"
        "  known: deepstack_features, image_features, input_ids, logit_index, next_position, "
        "position_ids, visual_index"
    )


def test_a_port_of_the_spans_that_is_read_on_input():
    early = on_input([Port("inputs_embeds", "float64", ("B", "S", "H"))], [])
    assert message(fake_stages(("vision", "early", early))) == (
        "2:5: stages.early: reads 'inputs_embeds', which embed writes only for each span; this "
        "stage runs before, on what enters\n"
        "  known: deepstack_features, image_features, image_grid_thw, input_ids, media_digest, "
        "media_index, pixel_values, source_row, start_position, visual_index"
    )


def test_a_port_of_the_input_that_is_not_kept_for_the_spans():
    whole = on_input([IDS], [Port("summary", "float32", (16,))])
    late = on_span([Port("summary", "float32", (16,))], [])
    assert message(fake_stages(("mrope", "whole", whole), ("embed", "late", late))).startswith(
        "5:5: stages.late: reads 'summary', which whole writes on input without an S or N axis, so "
        "it is not kept for the spans\n"
    )


def test_a_port_that_is_there_only_while_media_enter():
    late = on_span([Port("pixel_values", "float32", ("patches", 4))], [])
    assert message(fake_stages(("embed", "late", late))).startswith(
        "4:5: stages.late: reads 'pixel_values', which is there only while media enter, not for "
        "each span\n"
    )


def test_an_offered_port_is_not_there_for_the_spans_whatever_its_axes():
    late = on_span([Port("scores", "float32", ("N",))], [LOGITS])
    assert message([("late", late)], offers=[Port("scores", "float32", ("N",))]).startswith(
        "1:5: stages.late: reads 'scores', which is there only while media enter"
    )


def test_a_second_writer_that_does_not_read():
    assert message(fake_stages(("embed", "again", Embed()))) == (
        "4:5: stages.again: writes 'inputs_embeds', which embed writes already; a stage that "
        "rewrites a port reads it, too\n"
        "  known: deepstack_features, image_features, input_ids, inputs_embeds, logit_index, "
        "next_position, position_ids, visual_index"
    )


@pytest.mark.parametrize("name", ["input_ids", "visual_index", "source"])
def test_a_writer_of_what_the_core_writes(name):
    writer = on_input(
        [Port("image_grid_thw", "int64", ("images", 3))], [Port(name, "int64", ("S",))]
    )
    assert message(fake_stages((None, "writer", writer))).startswith(
        f"1:5: stages.writer: writes '{name}', which the core writes already"
    )


def test_an_output_that_nobody_reads():
    items = [item for item in fake_stages() if item[0] != "merge"]
    assert message(items) == (
        "1:5: stages.vision: writes 'image_features', which nobody reads; add the stage that reads "
        "it, or say 'ignore: [image_features]' if it is meant to be lost"
    )


def test_an_output_that_is_rewritten_and_then_read_by_nobody():
    rewrite = on_input([FEATURES], [FEATURES])
    items = [item for item in fake_stages(("vision", "rewrite", rewrite)) if item[0] != "merge"]
    changes = {"vision": {"ignore": ("deepstack_features",)}}
    assert message(items, changes=changes).startswith(
        "2:5: stages.rewrite: writes 'image_features', which nobody reads"
    )


def test_a_dtype_that_differs():
    class Half(Embed):
        writes = (Port("inputs_embeds", "float16", ("B", "S", HIDDEN)),)

    assert message(fake_stages(replace={"embed": Half()})) == (
        "5:5: stages.decode: reads 'inputs_embeds' as float64, but embed writes it as float16"
    )


def test_a_dtype_that_is_no_float_where_any_float_would_do():
    class Whole(Embed):
        writes = (Port("inputs_embeds", "int32", ("B", "S", HIDDEN)),)

    assert message(fake_stages(replace={"embed": Whole()})) == (
        "4:5: stages.merge: reads 'inputs_embeds' as float, but embed writes it as int32"
    )


def test_axes_that_differ():
    reader = on_span([Port("input_ids", "int64", ("B", "N"))], [LOGITS])
    assert message([("speaks", reader)]) == (
        "1:5: stages.speaks: reads 'input_ids' with axes [B, N], but the core writes it with [S]"
    )


@pytest.mark.parametrize("axes", [(), ("S", "B", "S"), ("S", "H"), (5,)])
def test_axes_that_differ_in_number_or_length(axes):
    reader = on_span([Port("input_ids", "int64", axes)], [LOGITS])
    assert "but the core writes it with [S]" in message([("speaks", reader)])


def test_a_letter_stands_for_one_number_in_the_whole_pipeline():
    class Wide(Embed):
        writes = (Port("inputs_embeds", "float64", ("B", "S", 99)),)

    assert message(fake_stages(replace={"embed": Wide()})) == (
        "4:5: stages.merge: reads 'image_features' with axes [N, H], but vision writes it with "
        "[N, 8] (H is 99)"
    )


def test_a_rename_of_a_port_that_the_stage_lacks():
    changes = {"embed": {"ports": {"input_idz": PortChange("input_ids")}}}
    assert message(fake_stages(), changes=changes) == (
        "3:5: stages.embed: the stage has no port 'input_idz'\n"
        "  did you mean 'input_ids'?\n"
        "  known: input_ids, inputs_embeds"
    )


def test_an_output_to_ignore_that_the_stage_does_not_write():
    changes = {"vision": {"ignore": ("deepstack_feature",)}}
    assert message(fake_stages(), changes=changes) == (
        "1:5: stages.vision: the stage does not write 'deepstack_feature'\n"
        "  did you mean 'deepstack_features'?\n"
        "  known: image_features, deepstack_features"
    )


def test_stages_that_end_without_logits():
    items = [item for item in fake_stages() if item[0] == "embed"]
    assert message(items, changes={"embed": {"ignore": ("inputs_embeds",)}}) == (
        "1:5: stages.embed: the stages end here, and none has written 'logits'\n"
        "  known: input_ids, inputs_embeds, logit_index, visual_index"
    )


def test_a_decoder_that_would_be_skipped_for_tokens_alone():
    speaks = on_span([FEATURES], [LOGITS])
    items = [("vision", fake_stages()[0][1]), ("speaks", speaks)]
    changes = {"vision": {"ignore": ("deepstack_features",)}}
    assert message(items, changes=changes) == (
        "2:5: stages.speaks: the stages end here, and none has written 'logits' for tokens without "
        "media\n  known: input_ids, logit_index, visual_index"
    )


def test_logits_without_a_vocabulary():
    speaks = on_span(
        [Port("input_ids", "int64", ("B", "S"))], [Port("logits", "float32", ("B", "S"))]
    )
    assert message([("speaks", speaks)]) == (
        "1:5: stages.speaks: writes logits float32 [B, S]; what the core reads is "
        "logits float [B, R, V]"
    )


def test_next_positions_that_are_not_one_per_token():
    places = on_input([IDS], [Port("next_position", "int64", (3, "S"))])
    assert message([("places", places), ("speaks", SPEAKS)]) == (
        "1:5: stages.places: writes next_position int64 [3, S]; what the core reads is "
        "next_position int64 [S]"
    )


def test_a_cache_on_input():
    stage = on_input([IDS], [], pairs=[cache_pair("key")])
    assert message([("keeps", stage), ("speaks", SPEAKS)]) == (
        "1:5: stages.keeps: keeps a cache, so it must run on each span and not on input"
    )


def test_a_mask_of_a_dtype_that_no_cache_writes():
    class Foreign(Decode):
        reads = tuple(
            Port("attention_mask", "int32", port.axes) if port.name == "attention_mask" else port
            for port in Decode.reads
        )

    assert message(fake_stages(replace={"decode": Foreign()})) == (
        "5:5: stages.decode: reads 'attention_mask' as int32, but the core writes it as int64"
    )


def test_rows_to_keep_that_are_no_booleans():
    prune = on_input([FEATURES], [Port("keep_rows", "int64", ("N",))])
    assert message(fake_stages(("mrope", "prune", prune))) == (
        "3:5: stages.prune: writes keep_rows int64 [N]; what the core reads is keep_rows bool [N]"
    )


def test_rows_to_merge_without_their_weights():
    prune = on_input([FEATURES], [Port("merge_rows", "int64", ("N",))])
    assert message(fake_stages(("mrope", "prune", prune))) == (
        "3:5: stages.prune: writes 'merge_rows'; a reducer writes 'keep_rows', or 'merge_rows' and "
        "'merge_weights'"
    )


def test_a_reducer_that_runs_on_spans():
    prune = on_span([FEATURES], [Port("keep_rows", "bool", ("N",))])
    assert message(fake_stages(("embed", "prune", prune))).startswith(
        "4:5: stages.prune: writes 'keep_rows', which nobody reads"
    )
