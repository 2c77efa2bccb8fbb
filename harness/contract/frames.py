"""The frames of contract version 1: one record per kind, each with its strict parser.

A frame is one line of JSON (lines.py) and, for `image` and `map`, exactly `nbytes`
raw bytes. Keys are exact: none may be missing, none added. A header that parses has
sizes that agree with each other, so that a reader knows what to expect before it
reads a single byte of the payload.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from .lines import BadFrame, came, decode_line, encode_line, finite_number

CONTRACT_VERSION = 1
MAX_SIDE = 65_535
"""Largest height or width of an image."""
MAX_STEP = 2**53
"""Largest step number: what a double can count, so that any JSON library agrees."""
MAX_ID_CHARS = 64
MAX_NAME_CHARS = 100
MAP_DTYPES: dict[str, np.dtype[Any]] = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2")}
"""Name in the frame and little-endian dtype of the bytes."""

Header = dict[str, Any]


class Frame(Protocol):
    """What every kind of frame offers."""

    kind: ClassVar[str]

    def line(self) -> bytes:
        """The header as one line."""
        ...

    @classmethod
    def from_header(cls, header: Header) -> Self:
        """Check a header, its `type` taken off; raises `BadFrame`."""
        ...


@dataclass(frozen=True)
class HelloFrame:
    """Harness to entry, once, first: what this session is about."""

    kind: ClassVar[str] = "hello"
    verb: str
    """`predict` or `train`."""
    benchmark: str
    """Name of the benchmark."""
    seed: int
    """Seed of the run, for everything random that the method does."""
    device: str
    """`cpu` or `cuda:0`."""
    maps_wanted: bool
    """Whether anomaly maps are asked for; else a score alone."""
    paths: Mapping[str, str]
    """Folders, as the entry sees them: `model`, `weights`, `train`; those that there are."""
    params: Mapping[str, Any]
    """Hyper-parameters."""
    limits: Mapping[str, float | int]
    """Limits of the session by name; times in seconds."""

    def line(self) -> bytes:
        """The header as one line."""
        return encode_line(
            {
                "type": self.kind,
                "contract": CONTRACT_VERSION,
                "verb": self.verb,
                "benchmark": self.benchmark,
                "seed": self.seed,
                "device": self.device,
                "maps_wanted": self.maps_wanted,
                "paths": dict(self.paths),
                "params": dict(self.params),
                "limits": dict(self.limits),
            }
        )

    @classmethod
    def from_header(cls, header: Header) -> Self:
        """Check a header; raises `BadFrame`."""
        _check_keys(
            header,
            "contract",
            "verb",
            "benchmark",
            "seed",
            "device",
            "maps_wanted",
            "paths",
            "params",
            "limits",
        )
        _check_contract(header)
        paths = _object(header, "paths")
        if not all(isinstance(path, str) for path in paths.values()):
            raise BadFrame("every path is a string", came(paths))
        limits = _object(header, "limits")
        return cls(
            verb=_text(header, "verb"),
            benchmark=_text(header, "benchmark"),
            seed=_integer(header, "seed", 0, MAX_STEP),
            device=_text(header, "device"),
            maps_wanted=_flag(header, "maps_wanted"),
            paths=paths,
            params=_object(header, "params"),
            limits={name: _limit(value) for name, value in limits.items()},
        )


@dataclass(frozen=True)
class ReadyFrame:
    """Entry to harness, once, first: the model is loaded, images may come."""

    kind: ClassVar[str] = "ready"
    maps: bool
    """Whether answers carry anomaly maps where they are wanted."""

    def line(self) -> bytes:
        """The header as one line."""
        return encode_line({"type": self.kind, "contract": CONTRACT_VERSION, "maps": self.maps})

    @classmethod
    def from_header(cls, header: Header) -> Self:
        """Check a header; raises `BadFrame`."""
        _check_keys(header, "contract", "maps")
        _check_contract(header)
        return cls(maps=_flag(header, "maps"))


@dataclass(frozen=True)
class ImageFrame:
    """Harness to entry: one image, its bytes follow."""

    kind: ClassVar[str] = "image"
    id: str
    """Name of this question; the answer repeats it. Random, says nothing."""
    shape: tuple[int, ...]
    """(H, W) or (H, W, 3)."""

    @property
    def nbytes(self) -> int:
        """Bytes that follow the line: uint8, C order."""
        return math.prod(self.shape)

    def line(self) -> bytes:
        """The header as one line."""
        return encode_line(
            {
                "type": self.kind,
                "id": self.id,
                "shape": list(self.shape),
                "dtype": "uint8",
                "nbytes": self.nbytes,
            }
        )

    @classmethod
    def from_header(cls, header: Header) -> Self:
        """Check a header; raises `BadFrame`."""
        _check_keys(header, "id", "shape", "dtype", "nbytes")
        frame = cls(id=_identifier(header), shape=_shape(header))
        if len(frame.shape) != 2 and frame.shape[2:] != (3,):
            raise BadFrame("an image has shape [H,W] or [H,W,3]", came(list(frame.shape)))
        if header["dtype"] != "uint8":
            raise BadFrame("an image has dtype uint8", came(header["dtype"]))
        _check_nbytes(header, frame.nbytes)
        return frame


@dataclass(frozen=True)
class MapFrame:
    """Entry to harness: the answer to one image; the map's bytes follow where it has one."""

    kind: ClassVar[str] = "map"
    id: str
    """The image's id."""
    score: float | None
    """Image score, higher = more anomalous; None = take the map's maximum."""
    shape: tuple[int, ...] | None
    """Shape of the map, which must be the image's (H, W); None = no map."""
    dtype: str | None
    """`float32` or `float16`; None = no map."""

    @property
    def nbytes(self) -> int:
        """Bytes that follow the line: little-endian, C order."""
        if self.shape is None or self.dtype is None:
            return 0
        return math.prod(self.shape) * MAP_DTYPES[self.dtype].itemsize

    def line(self) -> bytes:
        """The header as one line.

        A score of NaN goes out as it is: the harness then ends the run as `non_finite`,
        which tells the author more than a crash of the writer would.
        """
        header: Header = {"type": self.kind, "id": self.id}
        if self.score is not None:
            header["score"] = self.score
        if self.shape is None:
            header["shape"] = None
        else:
            header |= {"shape": list(self.shape), "dtype": self.dtype, "nbytes": self.nbytes}
        return encode_line(header, allow_nan=True)

    @classmethod
    def from_header(cls, header: Header) -> Self:
        """Check a header; raises `BadFrame`."""
        identifier = _identifier(header)
        score = finite_number(header["score"]) if "score" in header else None
        if header.get("shape", ()) is None:
            _check_keys(header, "id", "shape", optional=("score",))
            if score is None:
                raise BadFrame("an answer without a map needs a score")
            return cls(id=identifier, score=score, shape=None, dtype=None)
        _check_keys(header, "id", "shape", "dtype", "nbytes", optional=("score",))
        dtype = header["dtype"]
        if not isinstance(dtype, str) or dtype not in MAP_DTYPES:
            raise BadFrame("a map has dtype float32 or float16", came(dtype))
        frame = cls(id=identifier, score=score, shape=_shape(header), dtype=dtype)
        _check_nbytes(header, frame.nbytes)
        return frame


@dataclass(frozen=True)
class ProgressFrame:
    """Entry to harness, in training: how far it is."""

    kind: ClassVar[str] = "progress"
    step: int
    """Steps done."""
    steps: int
    """Steps planned."""
    loss: float | None
    """Training loss, None where there is none."""

    def line(self) -> bytes:
        """The header as one line."""
        return encode_line(
            {"type": self.kind, "step": self.step, "steps": self.steps, "loss": self.loss}
        )

    @classmethod
    def from_header(cls, header: Header) -> Self:
        """Check a header; raises `BadFrame`."""
        _check_keys(header, "step", "steps", "loss")
        return cls(
            step=_integer(header, "step", 0, MAX_STEP),
            steps=_integer(header, "steps", 0, MAX_STEP),
            loss=None if header["loss"] is None else finite_number(header["loss"]),
        )


@dataclass(frozen=True)
class CheckpointFrame:
    """Entry to harness, in training: send validation images now, then the verdict."""

    kind: ClassVar[str] = "checkpoint"
    step: int
    """Steps done."""

    def line(self) -> bytes:
        """The header as one line."""
        return encode_line({"type": self.kind, "step": self.step})

    @classmethod
    def from_header(cls, header: Header) -> Self:
        """Check a header; raises `BadFrame`."""
        _check_keys(header, "step")
        return cls(step=_integer(header, "step", 0, MAX_STEP))


@dataclass(frozen=True)
class Verdict:
    """Harness to entry, in training: the end of a checkpoint."""

    kind: ClassVar[str] = "verdict"
    keep: bool
    """This is the best state so far: save it."""
    stop: bool
    """Training should end now."""

    def line(self) -> bytes:
        """The header as one line."""
        return encode_line({"type": self.kind, "keep": self.keep, "stop": self.stop})

    @classmethod
    def from_header(cls, header: Header) -> Self:
        """Check a header; raises `BadFrame`."""
        _check_keys(header, "keep", "stop")
        return cls(keep=_flag(header, "keep"), stop=_flag(header, "stop"))


@dataclass(frozen=True)
class DoneFrame:
    """Entry to harness, in training: the model is on disk."""

    kind: ClassVar[str] = "done"

    def line(self) -> bytes:
        """The header as one line."""
        return encode_line({"type": self.kind})

    @classmethod
    def from_header(cls, header: Header) -> Self:
        """Check a header; raises `BadFrame`."""
        _check_keys(header)
        return cls()


AnyFrame = (
    HelloFrame
    | ReadyFrame
    | ImageFrame
    | MapFrame
    | ProgressFrame
    | CheckpointFrame
    | Verdict
    | DoneFrame
)

_KINDS: dict[str, type[AnyFrame]] = {
    frame.kind: frame
    for frame in (
        HelloFrame,
        ReadyFrame,
        ImageFrame,
        MapFrame,
        ProgressFrame,
        CheckpointFrame,
        Verdict,
        DoneFrame,
    )
}


@dataclass(frozen=True)
class Description:
    """What `describe` prints: one line of JSON, not a frame (it has no `type`)."""

    name: str
    """The entry's name."""
    maps: bool
    """Whether it answers with anomaly maps."""
    verbs: tuple[str, ...] = ("predict",)
    """`predict`, and `train` where it trains."""

    def line(self) -> bytes:
        """The description as one line."""
        return encode_line(
            {
                "name": self.name,
                "contract": CONTRACT_VERSION,
                "maps": self.maps,
                "verbs": list(self.verbs),
            }
        )

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Check one line; raises `BadFrame`."""
        header = decode_line(line)
        _check_keys(header, "name", "contract", "maps", optional=("verbs",))
        _check_contract(header)
        verbs = header.get("verbs", ["predict"])
        if verbs not in (["predict"], ["predict", "train"]):
            raise BadFrame('verbs is ["predict"] or ["predict","train"]', came(verbs))
        return cls(name=_text(header, "name"), maps=_flag(header, "maps"), verbs=tuple(verbs))


def parse_frame(line: bytes) -> AnyFrame:
    """The frame whose header stands on `line`; its payload is not read.

    Raises:
        NonFiniteNumber: a number in the header is NaN or infinite.
        BadFrame: anything else that the contract does not allow.
    """
    header = decode_line(line)
    kind = header.pop("type", None)
    if not isinstance(kind, str) or kind not in _KINDS:
        raise BadFrame(f"the type is none of {', '.join(_KINDS)}", came(kind))
    return _KINDS[kind].from_header(header)


def _check_keys(header: Header, *required: str, optional: tuple[str, ...] = ()) -> None:
    keys = header.keys()
    if keys - set(required) - set(optional) or set(required) - keys:
        listed = ", ".join(required) or "none"
        may = f", and maybe {', '.join(optional)}" if optional else ""
        sent = ", ".join(keys) or "none"
        raise BadFrame(f"the keys beside type are not exactly: {listed}{may}", f"{sent} came")


def _check_contract(header: Header) -> None:
    version = header["contract"]
    if type(version) is not int or version != CONTRACT_VERSION:
        raise BadFrame(f"contract is not {CONTRACT_VERSION}", came(version))


def _check_nbytes(header: Header, expected: int) -> None:
    value = header["nbytes"]
    if type(value) is not int or value != expected:
        raise BadFrame("nbytes is not what shape and dtype make", f"{came(value)}, not {expected}")


def _integer(header: Header, key: str, low: int, high: int) -> int:
    value = header[key]
    if type(value) is not int or not low <= value <= high:  # a JSON true is no integer
        raise BadFrame(f"{key} is not an integer from {low} to {high}", came(value))
    return value


def _flag(header: Header, key: str) -> bool:
    value = header[key]
    if not isinstance(value, bool):
        raise BadFrame(f"{key} is neither true nor false", came(value))
    return value


def _text(header: Header, key: str, max_chars: int = MAX_NAME_CHARS) -> str:
    value = header[key]
    if not isinstance(value, str) or not 1 <= len(value) <= max_chars:
        raise BadFrame(f"{key} is not a string of 1 to {max_chars} characters", came(value))
    return value


def _identifier(header: Header) -> str:
    if "id" not in header:
        raise BadFrame("the frame has no id")
    return _text(header, "id", MAX_ID_CHARS)


def _object(header: Header, key: str) -> Header:
    value = header[key]
    if not isinstance(value, dict):
        raise BadFrame(f"{key} is not an object", came(value))
    return value


def _shape(header: Header) -> tuple[int, ...]:
    value = header["shape"]
    if not isinstance(value, list) or not 2 <= len(value) <= 4:
        raise BadFrame("shape is not a list of two to four sides", came(value))
    if not all(type(side) is int and 1 <= side <= MAX_SIDE for side in value):
        raise BadFrame(f"every side of a shape is an integer from 1 to {MAX_SIDE}", came(value))
    return tuple(value)


def _limit(value: object) -> float | int:
    return value if type(value) is int else finite_number(value)
