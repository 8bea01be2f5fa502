"""Inputs that hold no data are answered from the lengths of the cache and of the slice."""

import numpy as np
import pytest

from triptych.core.graphs.host_inputs import HostInputs
from triptych.core.ports import Port

EMBEDS = Port("inputs_embeds", "float32", ("B", "S", 4))


def answered(*inputs, past=0, tokens=3, rows=1):
    host = HostInputs([EMBEDS, *inputs])
    ports = {"inputs_embeds": np.zeros((1, tokens, 4))}
    if any(port.name == "logit_index" for port in host.reads([EMBEDS, *inputs])):
        ports["logit_index"] = np.arange(tokens - rows, tokens)
    found = host.answered(ports, past, tokens)
    assert found.pop("inputs_embeds") is ports["inputs_embeds"]
    return found


@pytest.mark.parametrize("name", ["num_logits_to_keep", "logits_to_keep"])
@pytest.mark.parametrize("rows", [1, 3])
def test_as_many_logits_are_kept_as_rows_are_wanted(name, rows):
    found = answered(Port(name, "int64", ()), rows=rows)
    assert list(found) == [name]
    assert (found[name].shape, found[name].dtype, int(found[name])) == ((), np.int64, rows)


@pytest.mark.parametrize("past", [0, 5])
def test_the_branch_with_a_cache_is_used_once_there_is_one(past):
    found = answered(Port("use_cache_branch", "bool", (1,)), past=past)
    assert found["use_cache_branch"].dtype == bool
    assert found["use_cache_branch"].tolist() == [past > 0]


def test_lengths_are_given_in_the_graph_s_form():
    found = answered(
        Port("past_sequence_length", "int32", ("one", "one")),
        Port("total_sequence_length", "int32", ()),
        past=5,
    )
    assert found["past_sequence_length"].tolist() == [[5]]
    assert found["total_sequence_length"].tolist() == 8
    assert {value.dtype.name for value in found.values()} == {"int32"}


def test_a_graph_that_asks_for_nothing_reads_what_it_did():
    host = HostInputs([EMBEDS])
    assert not host
    assert host.reads([EMBEDS]) == (EMBEDS,)
