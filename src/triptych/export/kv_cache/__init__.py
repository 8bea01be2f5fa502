"""How a decoder's keys and values are stored: as floats, or as whole numbers with fixed scales."""

from triptych.export.kv_cache.form import CACHE_FORMS, CacheForm, CacheFormError, cache_form
from triptych.export.kv_cache.ranges import cache_ranges
from triptych.export.kv_cache.samples import sample_prompts
from triptych.export.kv_cache.stored import store_cache

__all__ = [
    "CACHE_FORMS",
    "CacheForm",
    "CacheFormError",
    "cache_form",
    "cache_ranges",
    "sample_prompts",
    "store_cache",
]
