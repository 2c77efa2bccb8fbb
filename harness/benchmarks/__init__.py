"""Benchmarks and packs: what is measured, and reading it from disk."""

from harness.benchmarks.cache import check_cache, default_cache
from harness.benchmarks.card import PackCard
from harness.benchmarks.demo import demo_pack
from harness.benchmarks.discovery import find_packs
from harness.benchmarks.opening import open_pack
from harness.benchmarks.pack import Pack, Sample
from harness.benchmarks.spec import BenchmarkSpec
from harness.benchmarks.specs import BENCHMARKS
from harness.benchmarks.staging import stage_training

__all__ = [
    "BENCHMARKS",
    "BenchmarkSpec",
    "Pack",
    "PackCard",
    "Sample",
    "check_cache",
    "default_cache",
    "demo_pack",
    "find_packs",
    "open_pack",
    "stage_training",
]
