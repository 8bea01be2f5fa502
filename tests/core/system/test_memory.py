"""Memory that is promised and not taken, and how much of it a machine has."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from triptych import InputError
from triptych.core.config.sections import SessionSettings
from triptych.core.system.memory import reserve, total_memory

STATUS = Path("/proc/self/statm")


def resident():
    return int(STATUS.read_text(encoding="ascii").split()[1]) * 4096


def test_reserved_memory_is_zero_and_can_be_written():
    array = reserve((2, 3, 4), "int8")
    assert (array.shape, array.dtype, array.any()) == ((2, 3, 4), np.int8, False)
    array[:] = 5
    assert (array == 5).all()
    assert reserve((0, 3), "float32").shape == (0, 3)


@pytest.mark.skipif(not STATUS.exists(), reason="no /proc here")
def test_what_is_not_touched_costs_nothing_and_what_is_little_more_than_itself():
    before = resident()
    # Eight slots of eight heads of 128, at a context of 32,768: 8 GiB, of which a system with a
    # gigabyte promises nothing if it is asked.
    array = reserve((8, 8, 32768, 256), "float32")[:, :, :, :128]
    assert resident() - before < 2**21
    array[0, :, :32] = 1
    assert resident() - before < 2**21, "eight times 32 kB, and no huge pages"


def test_more_than_addresses_is_refused():
    with pytest.raises(InputError, match=r"cannot be reserved; lower session\.max_context"):
        reserve((2**20, 2**40), "float32")


def test_a_machine_has_memory():
    assert 2**28 < total_memory() < 2**50


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (5, 5),
        ("4GB", 4 * 10**9),
        ("4 GiB", 4 * 2**30),
        ("1.5 MB", 1_500_000),
        ("7B", 7),
        ("2KiB", 2048),
    ],
)
def test_sizes_are_numbers_or_have_units(given, said):
    assert SessionSettings(cache_memory=given).cache_bytes == said


def test_half_of_the_machine_is_for_caches():
    assert SessionSettings().cache_bytes == total_memory() // 2


@pytest.mark.parametrize("given", [0, -1, "4 parsecs", "GB", "4gb", True, 1.5])
def test_other_sizes_are_refused(given):
    with pytest.raises(ValueError, match="cache_memory"):
        SessionSettings(cache_memory=given)


HEAPS = """
import threading
from triptych.core.system.memory import share_heap
import ctypes
{before}
kept = []
threads = [threading.Thread(target=lambda: kept.append(ctypes.create_string_buffer(50_000)))]
for thread in threads:
    thread.start()
    thread.join()
near = ctypes.create_string_buffer(50_000)
print(abs(ctypes.addressof(near) - ctypes.addressof(kept[0])) < 2**26)
"""


def near(before, **environment):
    """Whether what a thread allocated lies where the first thread's things do."""
    code = HEAPS.format(before=before)
    environment = {**os.environ, **environment}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout.strip() == "True"


@pytest.mark.skipif(sys.platform != "linux", reason="about glibc")
def test_threads_share_a_heap_unless_somebody_has_said_otherwise():
    assert not near("")
    assert near("share_heap()")
    assert not near("share_heap()", MALLOC_ARENA_MAX="4")
