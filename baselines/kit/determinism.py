"""Seeds, threads and deterministic algorithms: the same seed gives the same bytes on a CPU.

Trap: torch takes its thread count from the machine, not from the CPU quota, and one or
two threads add up in another order. The engine says how many in OMP_NUM_THREADS.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def set_up(device: str, seed: int) -> torch.device:
    """Fix everything that is random or depends on the machine; called first by every model.

    Args:
        device: `cpu` or `cuda:0`, as the hello frame names it.
        seed: the run's seed.
    """
    if threads := os.environ.get("OMP_NUM_THREADS", ""):
        torch.set_num_threads(int(threads))
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - for libraries that still draw from it
    torch.manual_seed(seed)
    # A few backward passes have no deterministic form on a GPU: there they warn in the log.
    torch.use_deterministic_algorithms(True, warn_only=device != "cpu")
    # Else every tensor made empty is first filled with NaN: a kernel each, for what nobody reads.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False
    # TensorFloat-32 keeps 10 bits of the mantissa: too few to compare machines.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return torch.device(device)


def seed_for(seed: int, purpose: str) -> int:
    """A seed of its own for each purpose, so that using one stream more moves no other."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator(seed: int, purpose: str) -> torch.Generator:
    """A CPU generator for one purpose; draws on the CPU are equal on every device."""
    return torch.Generator().manual_seed(seed_for(seed, purpose))


@contextmanager
def seeded(seed: int, purpose: str) -> Iterator[None]:
    """Inside, torch's global CPU generator has a seed of its own; outside, it is untouched.

    For network initialisation, which can draw from the global generator only.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_for(seed, purpose))
        yield
