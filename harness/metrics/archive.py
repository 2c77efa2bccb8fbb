"""Arrays and a JSON header in one .npz file: same content, same bytes; written atomically.

`numpy.load` opens the files too. Time stamps, attributes and the order of the
members are fixed, so that a file's hash depends on its content alone (and on
the zlib that compressed it).
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.common.json_text import parse_json
from harness.metrics.errors import TruthMismatch

_EPOCH = (1980, 1, 1, 0, 0, 0)


def write_archive(
    path: Path, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> None:
    """Write the file beside its place, flush it to the disk and rename it.

    Args:
        path: the .npz file; its folder exists.
        header: plain JSON types without NaN.
        arrays: any names but `header`; `/` is allowed.
    """
    text = json.dumps(header, sort_keys=True, allow_nan=False).encode()
    members = {"header": np.frombuffer(text, np.uint8), **arrays}
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
                for name in sorted(members):
                    archive.writestr(_member(name), _npy_bytes(members[name]))
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise


def read_archive(path: Path, *, format_name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and arrays of a file written by `write_archive`.

    Raises:
        TruthMismatch: the file is damaged, or its header's `format` is not `format_name`.
        FileNotFoundError: there is no such file.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        header: dict[str, Any] = parse_json(arrays.pop("header").tobytes())
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError) as error:
        raise TruthMismatch(
            "the file is damaged or of another program", where=str(path), fix="delete it"
        ) from error
    if header.get("format") != format_name:
        raise TruthMismatch(
            f"the file holds {header.get('format')!r}, not {format_name!r}",
            where=str(path),
            fix="delete it; it is made again",
        )
    return header, arrays


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name + ".npy", date_time=_EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = 3
    info.external_attr = 0o644 << 16
    return info


def _npy_bytes(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()
