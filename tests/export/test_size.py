"""Exporting takes little memory, however large a tensor is."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.export.checkpoints import SHAPES
from tests.export.memory import watched
from tests.export.published import (
    PUBLISHED,
    published_checkpoint,
    published_tensors,
    scaled_down,
)
from tests.export.test_export import some_logits
from triptych.export import export_checkpoint

MIB = 1024**2

# One tensor of 33.5 million values: 64 MiB in a checkpoint, 128 MiB as float32.
LARGE = {
    "table": replace(SHAPES["tied"], vocabulary=131_072, hidden=256, layers=1),
    "matrices": replace(SHAPES["tied"], intermediate=131_072, hidden=256, layers=1),
}

# The widths of a tiny model.
NARROW = {
    "vocabulary": 1000,
    "hidden": 64,
    "intermediate": 96,
    "heads": 4,
    "kv_heads": 2,
    "vision_hidden": 64,
    "vision_heads": 4,
    "vision_intermediate": 80,
}

# Tells what it has before the export, which the export's own peak comes on top of.
EXPORT = """
import sys
from pathlib import Path
from tests.export.memory import anonymous_bytes
from triptych.export import export_checkpoint
import triptych.export.precision, triptych.export.qwen3_vl.exporter
print(anonymous_bytes())
export_checkpoint(Path(sys.argv[1]), Path(sys.argv[2]), precision=sys.argv[3])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells anonymous memory")
@pytest.mark.parametrize(
    ("large", "precision"), [("table", "fp32"), ("matrices", "fp16"), ("table", "int4")]
)
def test_no_large_tensor_is_ever_whole_in_memory(tmp_path, large, precision):
    checkpoint = published_checkpoint(tmp_path / "checkpoint", LARGE[large])
    out = tmp_path / "out"
    run = watched([sys.executable, "-c", EXPORT, str(checkpoint), str(out), precision])
    assert run.exit_code == 0, run.output
    assert (out / "pipeline.yaml").is_file()
    assert run.peak - int(run.output) < 56 * MIB


# What the model cards say, in billions; the tensors are those of the published indexes.
@pytest.mark.parametrize(
    ("size", "parameters", "tensors"), [("2b", 2.13, 625), ("4b", 4.44, 713), ("8b", 8.77, 750)]
)
def test_the_shapes_have_as_many_parameters_as_the_published_models(size, parameters, tensors):
    found = published_tensors(PUBLISHED[size])
    assert sum(drawn.size for drawn in found.values()) / 1e9 == pytest.approx(parameters, abs=0.005)
    assert len(found) == tensors


def test_a_scaled_down_checkpoint_in_shards_is_exported(tmp_path):
    shape = scaled_down(replace(PUBLISHED["2b"], **NARROW), layers=2)
    checkpoint = published_checkpoint(tmp_path / "checkpoint", shape, shard_bytes=1_000_000)
    assert len(list(checkpoint.glob("*.safetensors"))) > 1
    assert np.isfinite(some_logits(export_checkpoint(checkpoint, tmp_path / "out"))).all()
