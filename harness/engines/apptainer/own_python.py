"""A container for the harness's own programs: this machine's Python, and nothing of any image's.

The probe, the canary and the preflight are started with the very options of an entry, but their
interpreter must be no stranger's, and no image may have to be built first. So they run in an empty
folder to which the interpreter's own files and this machine's libraries are mounted, read-only.
"""

from __future__ import annotations

import sys
from pathlib import Path

from harness.engines.apptainer.options import Image

# What Apptainer mounts at, and makes in the images that it builds.
_FOLDERS = ("dev", "proc", "sys", "tmp", "var/tmp", "etc")
# Where a dynamic loader, the C library and what they load stand; links among them stay links.
_LIBRARIES = ("lib", "lib64", "usr/lib", "usr/lib64", "usr/local/lib")


def own_python_image(folder: Path, source: str) -> Image:
    """What is started for a program of the harness's own.

    Args:
        folder: an empty one; becomes the root.
        source: the program, which needs the standard library alone.
    """
    interpreter = Path(sys.executable).resolve()
    binds: dict[str, str] = {}
    for name in _LIBRARIES:
        place = Path("/", name)
        if place.is_symlink():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(place.readlink())
        elif place.is_dir():
            binds[str(place)] = str(place)
    for place in sorted({Path(sys.base_prefix), interpreter.parent, *_loaded_from()}):
        if not any(place.is_relative_to(bound) for bound in binds):
            binds[str(place)] = str(place)
    for inside in (*_FOLDERS, *binds):
        (folder / inside.lstrip("/")).mkdir(parents=True, exist_ok=True)
    return Image(
        place=folder,
        command=(str(interpreter), "-I", "-S", "-c", source),
        variables={"LD_LIBRARY_PATH": ":".join(map(str, _loaded_from()))},
        working_folder="/",
        binds=binds,
    )


def _loaded_from() -> list[Path]:
    """Folders of the libraries that this interpreter has loaded, wherever a module system put them."""
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    files = (Path(line.split(maxsplit=5)[5]) for line in lines if "/lib" in line and ".so" in line)
    found = {file.resolve().parent for file in files if file.is_absolute()}
    return sorted(
        each for each in found if each.is_relative_to(sys.base_prefix) or _is_system(each)
    )


def _is_system(folder: Path) -> bool:
    """Not the environment's packages, which no program of the harness's own needs."""
    return not folder.is_relative_to(sys.prefix) and "site-packages" not in folder.parts
