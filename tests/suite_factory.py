"""A trial suite of generated packs, as a user writes one."""

from __future__ import annotations

from pathlib import Path

from harness.benchmarks import Pack, demo_pack
from harness.benchmarks.regime_pack import RegimePack, in_regime
from harness.benchmarks.suites import Suite
from harness.common.disclosure import Visibility
from harness.records.regime import Regime

PAIR = ("demo", "demo-b")


def pair_file(folder: Path, name: str = "demo-pair", members: tuple[str, ...] = PAIR) -> Path:
    """The TOML file of a suite."""
    listed = ", ".join(f'"{member}"' for member in members)
    path = folder / f"{name}.toml"
    path.write_text(f'name = "{name}"\ntitle = "Generated packs"\nmembers = [{listed}]\n')
    return path


def second_pack(cache: Path, visibility: Visibility = "open") -> Pack:
    """A generated pack beside the demo pack: other patients, the same size."""
    return demo_pack(cache, seed="b", name="demo-b", visibility=visibility)


def pair_pack(cache: Path, visibility: Visibility = "open") -> RegimePack:
    """Both packs as the runs of a suite see them."""
    suite = Suite("demo-pair", "Generated packs", PAIR, is_shipped=False)
    unified = Regime(name="unified", suite=suite.name, delivery="256")
    packs = (demo_pack(cache), second_pack(cache, visibility))
    seen, _ = in_regime(packs, unified, 0, suite)
    assert isinstance(seen, RegimePack)
    return seen
