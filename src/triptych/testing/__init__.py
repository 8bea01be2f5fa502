"""The kit for people who write plugins: checks of what each kind promises, and fakes."""

from triptych.testing.byte_tokenizer import write_byte_tokenizer
from triptych.testing.cache_checks import check_cache
from triptych.testing.dataset_checks import check_dataset
from triptych.testing.exporter_checks import check_exporter
from triptych.testing.fake_decoder import FakeDecoder, FakeGeneration
from triptych.testing.metric_checks import answer, check_metric, reply
from triptych.testing.parametrize import parametrize_with_checks
from triptych.testing.processor_checks import check_processor
from triptych.testing.sampler_checks import check_sampler
from triptych.testing.stage_checks import check_stage
from triptych.testing.strategy_checks import check_strategy
from triptych.testing.subject import Subject
from triptych.testing.tiny_graphs import Node, write_graph

__all__ = [
    "FakeDecoder",
    "FakeGeneration",
    "Node",
    "Subject",
    "answer",
    "check_cache",
    "check_dataset",
    "check_exporter",
    "check_metric",
    "check_processor",
    "check_sampler",
    "check_stage",
    "check_strategy",
    "parametrize_with_checks",
    "reply",
    "write_byte_tokenizer",
    "write_graph",
]
