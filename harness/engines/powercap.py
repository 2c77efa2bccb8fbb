"""The processor's energy counters (RAPL), as the kernel shows them in its powercap folder.

    /sys/class/powercap/intel-rapl:0/{name, energy_uj, max_energy_range_uj}

One top-level zone for each processor package; since Linux 5.11 AMD's processors stand there too,
under the same name. Traps:
- `intel-rapl:0:0` and below are parts of a package, or its DRAM; a `psys` zone is the whole board;
  `intel-rapl-mmio:0` is the same package once more. None of them is added to the packages.
- Since 2020 `energy_uj` is for root alone: a fine-grained energy counter leaks secrets (PLATYPUS).
- A counter begins anew at its range, often 65 or 262 kJ: minutes at full load.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from harness.records.energy import EnergyGap

POWERCAP = Path("/sys/class/powercap")
ZONE = re.compile(r"intel-rapl:\d+")


class NoReading(Exception):
    """A counter tells nothing.

    Args:
        gap: why.
    """

    def __init__(self, gap: EnergyGap) -> None:
        super().__init__(gap.value)
        self.gap = gap


@dataclass(frozen=True)
class Zone:
    """One processor package."""

    folder: Path
    """Its folder."""
    name: str
    """As the kernel names it: `package-0`."""

    def read(self) -> int:
        """Its counter now, in microjoules.

        Raises:
            NoReading: it cannot be read.
        """
        return _number(self.folder / "energy_uj")

    def range(self) -> int:
        """Where its counter begins anew, in microjoules.

        Raises:
            NoReading: it cannot be read.
        """
        return _number(self.folder / "max_energy_range_uj")


def packages(root: Path = POWERCAP) -> tuple[Zone, ...]:
    """Every processor package that has a counter, by name; none where the kernel shows none."""
    found = []
    for folder in root.glob("intel-rapl:*") if root.is_dir() else ():
        if ZONE.fullmatch(folder.name) and (name := _text(folder / "name")).startswith("package"):
            found.append(Zone(folder, name))
    return tuple(sorted(found, key=lambda zone: zone.name))


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _number(path: Path) -> int:
    try:
        return int(path.read_text("ascii"))
    except PermissionError:
        raise NoReading(EnergyGap.NOT_PERMITTED) from None
    except (OSError, ValueError):  # ENODATA, EIO: the kernel has lost the processor's register
        raise NoReading(EnergyGap.NOT_ANSWERED) from None
