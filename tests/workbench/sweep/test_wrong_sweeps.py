"""What is wrong in a sweep file is said before anything runs, with its line and a remedy."""

import pytest

from tests.workbench.sweeps import MADE_UP, write
from triptych.core.config_error import ConfigError
from triptych.workbench.runs.ablation import Ablation

GOOD = """\
format: 1
data: {local/few: 2}
metrics: [local/length]
"""

WRONG = {
    "no_format": ("data: {local/few: 2}\nmetrics: [local/length]", "1:1: format", "format: 1"),
    "newer": ("format: 2\ndata: x\nmetrics: [y]", "1:9: format", "upgrade triptych"),
    "empty": ("", "1:1", "a sweep begins with 'format: 1'"),
    "list": ("- a", "1:1", "is not a mapping"),
    "no_data": ("format: 1\nmetrics: [local/length]", "1:1: data", "must be given"),
    "no_metric": ("format: 1\ndata: {local/few: 2}\nmetrics: []", "3:10: metrics", "no metric"),
    "misspelt_key": (GOOD + "matrx: {}", "4:1: matrx", "did you mean 'matrix'?"),
    "unknown_data": (
        "format: 1\ndata: {local/fe: 2}\nmetrics: [local/length]",
        "2:8: data.local/fe",
        "did you mean 'local/few'?",
    ),
    "wrong_data": (
        "format: 1\ndata: {local/few: {count: many}}\nmetrics: [local/length]",
        "2:27: data.local/few.count",
        "whole number",
    ),
    "unknown_task": (
        "format: 1\ndata: {sketch_scenes: {tasks: [coutn]}}\nmetrics: [local/length]",
        "2:32: data.sketch_scenes.tasks[0]",
        "did you mean 'count'?",
    ),
    "unknown_metric": (
        "format: 1\ndata: {local/few: 2}\nmetrics: [local/lenght]",
        "3:11: metrics.local/lenght",
        "did you mean 'local/length'?",
    ),
    "unknown_base": (GOOD + "base: scetch", "4:7: base", "did you mean 'sketch'?"),
    "unknown_path": (
        GOOD + "matrix:\n  sampler.temprature: [0.3]",
        "5:24: matrix.sampler.temprature[0]",
        "there is no sampling step 'temprature'",
    ),
    "unknown_stage": (
        GOOD + "matrix:\n  merg.deepstack: [false]",
        "5:20: matrix.merg.deepstack[0]",
        "did you mean 'merge'?",
    ),
    "unknown_setting": (
        GOOD + "matrix:\n  merge.deepstak: [false]",
        "5:20: stages.merge.deepstak",
        "did you mean 'deepstack'?",
    ),
    "wrong_value": (
        GOOD + "matrix:\n  sampler.temperature: [0.3, hot]",
        "5:30: sampler.temperature",
        "a number",
    ),
    "wrong_session": (
        GOOD + "matrix:\n  session.max_batch: [1, 0]",
        "5:26: session.max_batch",
        "1 or more",
    ),
    "value_no_list": (
        GOOD + "matrix: {sampler.temperature: 0.3}",
        "4:31: matrix.sampler.temperature",
        "is not a list of values",
    ),
    "same_value": (
        GOOD + "matrix: {sampler.temperature: [0.3, 0.3]}",
        "4:37: matrix.sampler.temperature[1]",
        "is in the list twice",
    ),
    "unknown_sampler": (
        GOOD + "matrix:\n  sampler: [[greedy], [gredy]]",
        "5:24: sampler.gredy",
        "did you mean 'greedy'?",
    ),
    "excludes_no_key": (
        GOOD + "matrix: {sampler.top_p: [0.5]}\nexclude: [{sampler.topp: 0.5}]",
        "5:12: exclude[0].sampler.topp",
        "did you mean 'sampler.top_p'?",
    ),
    "excludes_no_value": (
        GOOD + "matrix: {sampler.top_p: [0.5]}\nexclude: [{sampler.top_p: 0.6}]",
        "5:27: exclude[0].sampler.top_p",
        "the matrix has no sampler.top_p of 0.6",
    ),
    "nameless": (GOOD + "include: [{remove: merge}]", "4:11: include[0]", "add 'name: ...'"),
    "named_base": (GOOD + "include: [{name: base}]", "4:18", "choose another name"),
    "name_of_two_lines": (
        GOOD + 'include: [{name: "a\\nb"}]',
        "4:18: include[0].name",
        "without line breaks",
    ),
    "two_of_a_name": (
        GOOD + "include:\n  - {name: a}\n  - {name: a}",
        "6:12: include[1].name",
        "in line 5 already",
    ),
    "inserted_nowhere": (
        GOOD + "include: [{name: a, insert: {after morp: merge}}]",
        "4:30: include[0].insert.after morp",
        "there is no stage 'morp'",
    ),
    "inserted_unknown": (
        GOOD + "include: [{name: a, insert: {after mrope: token_nrm}}]",
        "4:43",
        "did you mean 'token_norm'?",
    ),
    "replaced_nothing": (
        GOOD + "include: [{name: a, replace: {mrge: merge}}]",
        "4:31: include[0].replace.mrge",
        "did you mean 'merge'?",
    ),
    "removed_nothing": (
        GOOD + "include: [{name: a, remove: [mrge]}]",
        "4:30: include[0].remove[0]",
        "did you mean 'merge'?",
    ),
    "removed_a_number": (
        GOOD + "include: [{name: a, remove: 3}]",
        "4:29: include[0].remove",
        "3 is not the label of a stage, or a list of labels",
    ),
    "removed_a_mapping": (
        GOOD + "include: [{name: a, remove: {merge: 1}}]",
        "4:29: include[0].remove",
        "is not the label of a stage, or a list of labels",
    ),
    "two_documents": (
        GOOD + "---\nmatrix: {sampler.top_p: [0.5]}",
        "4:1",
        "a second document begins; a file holds one",
    ),
    "does_not_fit": (
        GOOD + "include:\n  - {name: blind, remove: mrope}",
        "5:12: include[0].name: arm 'blind' does not fit together",
        "position_ids",
    ),
    "no_chooser": (
        GOOD + "matrix: {sampler: [[{temperature: 0.5}]]}",
        "sampler",
        "add '- draw' (random) or '- greedy'",
    ),
    "chain_of_another_strategy": (
        GOOD + "matrix: {strategy: [beam_search], sampler: [[draw]]}",
        "4:",
        "beam_search",
    ),
    "seed_text": (GOOD + "seeds: [0, one]", "4:12: seeds[1]", "whole number of at least 0"),
    "seed_too_large": (GOOD + f"seeds: [{2**63}]", "4:9: seeds[0]", str(2**63 - 1)),
    "no_seed": (GOOD + "seeds: []", "4:8: seeds", "as in [0, 1, 2]"),
    "no_repeat": (GOOD + "repeats: 0", "4:10: repeats", "at least 1"),
    "no_item": (GOOD + "limit: true", "4:8: limit", "at least 1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_sweep_is_refused_with_its_place_and_a_remedy(name, tmp_path):
    text, place, remedy = WRONG[name]
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as refused:
        Ablation.read(file, plugins=[MADE_UP])
    message = str(refused.value)
    assert message.startswith(str(file)), message
    assert place in message, message
    assert remedy in message, message


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.yaml: cannot be read: No such file"):
        Ablation.read(tmp_path / "gone.yaml")


def test_memory_is_not_measured_beside_a_metric_that_needs_the_base_arm_in_memory(tmp_path):
    file = write(
        tmp_path, "format: 1\ndata: {local/few: 1}\nmetrics: [local/as_base, peak_memory]\n"
    )
    with pytest.raises(
        ConfigError, match=r"sweep.yaml:3:26: .*\n.*measure memory in a sweep of its"
    ):
        Ablation.read(file, plugins=[MADE_UP])
