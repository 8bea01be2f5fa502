"""The kit for people who write plugins: checks of what each kind promises, and fakes."""

from triptych.testing.fake_decoder import FakeDecoder, FakeGeneration
from triptych.testing.sampler_checks import check_sampler

__all__ = ["FakeDecoder", "FakeGeneration", "check_sampler"]
