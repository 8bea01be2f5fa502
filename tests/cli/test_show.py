"""`triptych show`."""

import re

import pytest
from ruamel.yaml import YAML


def test_what_it_prints_is_yaml_with_every_default_and_the_flow_as_comments(
    triptych, tiny_pipeline
):
    done = triptych("show", tiny_pipeline)
    assert (done.code, done.err) == (0, "")
    document = YAML(typ="safe").load(done.out)
    assert document["root"] == str(tiny_pipeline)
    decoder = document["stages"][-1]["decoder"]
    assert (
        decoder.items() >= {"graph": "decoder.onnx", "cache": "full", "cache_form": "auto"}.items()
    )
    assert document["session"]["threads"] == "auto"
    assert "digests" not in document
    comments = [line[2:] for line in done.out.splitlines() if line.startswith("#")]
    assert "  vision_encoder" in comments
    checked = triptych("check", tiny_pipeline).out.splitlines()
    assert comments[-len(checked) + 1 :] == [line[2:] for line in checked[1:]]


def test_it_says_why_requests_that_come_together_take_turns(triptych, tiny_pipeline):
    said = "# several requests at once: they take turns, because "
    last = triptych("show", tiny_pipeline, "--set=session.max_batch=1").out.splitlines()[-1]
    assert last == said + "session.max_batch is 1"
    changes = ["--set=decoder.cache_form=growing"]
    last = triptych("show", tiny_pipeline, *changes).out.splitlines()[-1]
    assert last == said + "the past tensors of decoder grow"


def test_what_it_prints_runs_and_says_the_same(triptych, tiny_pipeline, in_folder):
    flags = ["--set=stop.max_new_tokens=6", "--set=sampler=[{temperature: 3.0}, draw]"]
    asked = ["--text=Hello", "--seed=7"]
    mine = in_folder / "my.yaml"
    mine.write_text(triptych("show", tiny_pipeline, *flags).out, encoding="utf-8")
    done = triptych("run", "my.yaml", *asked, "--allow-outside")
    assert (done.code, done.err) == (0, "")
    assert done.out == triptych("run", tiny_pipeline, *asked, *flags).out
    assert "Saved outside of its root, this file runs with --allow-outside." in mine.read_text()


def test_inside_of_its_root_it_runs_without_a_flag(triptych, tiny_pipeline, in_folder):
    import shutil

    shutil.copytree(tiny_pipeline, in_folder / "model")
    text = triptych("show", "model").out
    (in_folder / "model" / "my.yaml").write_text(text, encoding="utf-8")
    assert triptych("check", "model/my.yaml").code == 0


def test_digests_are_recorded_when_they_are_asked_for(triptych, tiny_pipeline):
    import hashlib

    document = YAML(typ="safe").load(triptych("show", tiny_pipeline, "--digests").out)
    decoder = hashlib.sha256((tiny_pipeline / "decoder.onnx").read_bytes()).hexdigest()
    assert document["digests"]["decoder.onnx"] == decoder


ARROW = re.compile(r'  (\w+) (?:-->|-->\|"([^"]*)"\|) (\w+)')


def drawn(text):
    """The nodes, groups and arrows of a flowchart; every line must be one of them."""
    lines = text.splitlines()
    assert lines[0] == "flowchart TD"
    nodes, groups, arrows, group = {}, {}, [], None
    for line in lines[1:]:
        if match := re.fullmatch(r'  subgraph (\w+)\["([^"]*)"\]', line):
            group = groups.setdefault(match[1], [])
        elif line == "  end":
            group = None
        elif match := ARROW.fullmatch(line):
            arrows.append((match[1], match[2], match[3]))
        else:
            for part in line.split(" --> "):
                node = re.fullmatch(r' *(\w+)(?:[\[(]+"([^"]*)"[\])]+)?', part)
                assert node, line
                nodes.setdefault(node[1], node[2])
                if group is not None:
                    group.append(node[1])
    return nodes, groups, arrows


def test_the_drawing_has_stages_as_nodes_and_ports_on_the_arrows(triptych, tiny_pipeline):
    done = triptych("show", tiny_pipeline, "--mermaid")
    assert (done.code, done.err) == (0, "")
    nodes, groups, arrows = drawn(done.out)
    titles = {key: [nodes[name] for name in names] for key, names in groups.items()}
    assert titles == {
        "INPUT": ["vision_encoder", "mrope"],
        "SPAN": ["embeddings", "merge", "decoder", "cache: full"],
        "SAMPLER": ["greedy"],
    }
    named = {(nodes[source], ports, nodes[target]) for source, ports, target in arrows}
    assert {
        ("processor: qwen_vl", "pixel_values, image_grid_thw", "vision_encoder"),
        ("core: the sequence", "visual_index, start_position", "mrope"),
        ("mrope", "next_position", "core: the sequence"),
        ("vision_encoder", "image_features, deepstack_features", "merge"),
        ("merge", "inputs_embeds, deepstack_embeds", "decoder"),
        ("cache: full", "attention_mask, 6 past tensors", "decoder"),
        ("core: the sequence", "logit_index", "decoder"),
        ("decoder", "logits", "greedy"),
        ("greedy", "token", "core: the sequence"),
    } <= named


def test_every_arrow_of_the_drawing_joins_nodes_that_are_there(triptych, tiny_pipeline):
    chain = "--set=sampler=[{temperature: 0.5}, {top_k: 7}, draw]"
    nodes, groups, arrows = drawn(triptych("show", tiny_pipeline, "--mermaid", chain).out)
    assert {end for source, _, target in arrows for end in (source, target)} <= set(nodes)
    assert [nodes[name] for name in groups["SAMPLER"]] == ["temperature 0.5", "top_k 7", "draw"]


@pytest.mark.parametrize("flags", [[], ["--mermaid"]])
def test_a_wrong_pipeline_is_the_error_of_the_config(triptych, tiny_pipeline, flags):
    done = triptych("show", tiny_pipeline, "--remove=mrope", *flags)
    assert (done.code, done.out) == (2, "")
    assert "reads 'position_ids', which nobody writes" in done.err
