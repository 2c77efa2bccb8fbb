"""Images that others have made: found, pulled or loaded, and looked at before they run.

Traps:
- A tag can move: what runs is always the image id that it had when it was looked up.
- An archive may carry tags of its own. Loaded as it is, it could take the place of an image
  that the harness has built; so only its configuration and layers are handed to the engine,
  under a name that is made of their hash (loaded.py).
- Layers may be compressed and sparse, and hold names without number or end: bytes, names and
  headers of all layers are added up before the load (tar_headers.py).
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import logging
import posixpath
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NoReturn

import docker
from docker.auth import INDEX_NAME, resolve_repository_name
from docker.errors import APIError, ImageNotFound, InvalidRepository
from docker.utils import parse_repository_tag

from harness.common.errors import EntryInvalid
from harness.common.foreign_text import one_line
from harness.common.json_text import BadJson, parse_json
from harness.common.statuses import RunEnded, Status
from harness.engines.base import Program
from harness.engines.docker import vetting
from harness.engines.docker.container import ENGINE_FAULTS, engine_lost
from harness.engines.docker.loaded import LOADED_NAMESPACE, loaded_name
from harness.engines.docker.pull_faults import pull_fault
from harness.engines.docker.tar_headers import BadTar, Member, Window, members

OWN_NAMESPACE = "bmad/"  # tags of images that the harness builds; nothing else may bear them
MAX_MEMBERS = 10_000  # of the archive itself
MAX_LAYERS = 127  # as many as an engine stacks
MAX_LAYER_NAMES = 150_000  # files and folders of all layers; torch, CUDA and Debian are 60,000
MAX_UNPACKED_BYTES = 64 * 1024**3
MAX_MANIFEST_BYTES = 1024**2
_CHUNK = 1 << 20
# Their dictionaries alone may be larger than what the measuring may take.
_UNMEASURED = {b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ\x00": "xz"}
logger = logging.getLogger("harness.engines")


def program_of(
    image: Mapping[str, Any], name: str, identity: str, *, architecture: str = ""
) -> Program:
    """What the rest of the harness knows of an image, and whether a container may be made of it."""
    # Some engines note a digest for a name that was never a registry's, ours of an archive too.
    digests = [
        digest for digest in image.get("RepoDigests") or [] if LOADED_NAMESPACE not in digest
    ]
    return Program(
        name=name,
        identity=identity,
        image=image["Id"],
        image_digest=digests[0] if digests else None,
        content=content_of(image),
        size_bytes=int(image.get("Size") or 0),
        own_caches=vetting.own_caches((image.get("Config") or {}).get("Env") or []),
        refusal="; ".join(vetting.problems_of(image, architecture=architecture)),
    )


def content_of(image: Mapping[str, Any]) -> str:
    """Hash of the layers and of how the image is started; labels, names and dates do not count."""
    config = image.get("Config") or {}
    parts = [(image.get("RootFS") or {}).get("Layers")]
    parts += [config.get(name) or None for name in ("Entrypoint", "Cmd", "Env", "WorkingDir")]
    text = json.dumps(parts, separators=(",", ":")).encode()
    return "sha256:" + hashlib.sha256(text).hexdigest()


def pinned(client: docker.APIClient, image_id: str, reference: str) -> str | None:
    """The image's name by digest in the repository of `reference`, if the registry holds it.

    An engine may note a digest for an image that was never pushed; so the registry is asked.
    """
    repository = parse_repository_tag(reference)[0].partition("@")[0]
    image = client.inspect_image(image_id)
    for name in image.get("RepoDigests") or []:
        if name.partition("@")[0] == repository:
            try:
                client.inspect_distribution(name)
            except ENGINE_FAULTS as error:
                logger.info("the registry does not confirm %s: %s", one_line(name), one_line(error))
            else:
                return str(name)
    return None


def save(client: docker.APIClient, image_id: str, path: Path) -> None:
    """Write one image as an archive, under no name.

    Raises:
        FileExistsError: something is there already.
        RunEnded: the engine failed; what was written so far is left to the caller.
    """
    with path.open("xb") as file:
        try:
            for piece in client.get_image(image_id):
                file.write(piece)
        except ENGINE_FAULTS as error:
            raise engine_lost(error) from error


def find_or_pull(client: docker.APIClient, reference: str) -> dict[str, Any]:
    """The engine's inspection of an image; pulled when the engine has none of this name.

    Raises:
        EntryInvalid: this cannot be the name of an image of somebody else's, or the image is for
            other machines alone.
        RunEnded: `image_unavailable` when it can be neither found nor pulled.
    """
    repository, tag = parse_repository_tag(reference)
    try:
        index, name = resolve_repository_name(repository)
        image: dict[str, Any] = client.inspect_image(reference)
    except ImageNotFound:
        if index == INDEX_NAME and name.startswith((OWN_NAMESPACE, LOADED_NAMESPACE)):
            raise EntryInvalid(
                f"names below {name.partition('/')[0]}/ are the harness's own and are never pulled",
                where=reference,
                fix="give the image another name, or evaluate the baseline's folder",
            ) from None
        if repository == "sha256":  # an id, which no registry knows
            raise RunEnded(
                Status.IMAGE_UNAVAILABLE,
                f"this engine has no image of the id {one_line(reference)}",
            ) from None
        image = _pull(client, reference, repository, tag)
    except (APIError, InvalidRepository) as error:
        if isinstance(error, APIError) and not error.is_client_error():
            raise engine_lost(error) from error
        raise EntryInvalid(
            f"this is no image reference: {one_line(getattr(error, 'explanation', None) or error)}",
            where=reference,
            fix="write it as name:tag or name@sha256:digest",
        ) from error
    except ENGINE_FAULTS as error:
        raise engine_lost(error) from error
    _check_digest(image, reference)
    return image


def _check_digest(image: Mapping[str, Any], reference: str) -> None:
    """What was found is what was asked for by hash: a tag beside the hash is never followed."""
    wanted = reference.rpartition("@")[2] if "@" in reference else reference
    if not wanted.startswith("sha256:"):
        return
    known = [image["Id"], *(text.rpartition("@")[2] for text in image.get("RepoDigests") or [])]
    if not any(digest.startswith(wanted) for digest in known):
        raise EntryInvalid(
            f"the image found under this name is not {wanted}",
            where=reference,
            fix="pull it again by its digest",
        )


def _pull(
    client: docker.APIClient, reference: str, repository: str, tag: str | None
) -> dict[str, Any]:
    try:
        for event in client.pull(repository, tag=tag or "latest", stream=True, decode=True):
            if "error" in event:
                raise pull_fault(reference, str(event["error"]))
        image: dict[str, Any] = client.inspect_image(reference)
    except ENGINE_FAULTS as error:
        said = str(getattr(error, "explanation", None) or error)
        raise pull_fault(reference, said) from error
    return image


def load_archive(
    client: docker.APIClient, archive: Path, hold: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Load an image archive (`docker save`) that holds exactly one image.

    Args:
        client: the engine's API.
        archive: the file.
        hold: called with the name that the image will have, before it is loaded.
    Raises:
        EntryInvalid: the archive is not one, holds more than one image, links that lead
            out of it, or more than may be unpacked.
    """
    with _opened(archive) as source:
        name, parts = _image_parts(_Archive(source, archive))
        hold(name)
        try:
            loaded = [
                line.partition(":")[2].strip()
                for event in client.load_image(_tar_stream(parts))
                for line in _reply(event, archive).splitlines()
                if line.startswith("Loaded image")
            ]
            if len(loaded) != 1:
                _refuse(archive, f"the engine loaded {len(loaded)} images from it")
            image: dict[str, Any] = client.inspect_image(loaded[0])
        except APIError as error:
            _refuse(archive, f"the engine would not load it: {one_line(error.explanation)}")
        except ENGINE_FAULTS as error:
            raise engine_lost(error) from error
    return image


def _reply(event: Mapping[str, Any], archive: Path) -> str:
    if "error" in event:
        _refuse(archive, f"the engine would not load it: {one_line(event['error'])}")
    return str(event.get("stream", ""))


@contextmanager
def _opened(archive: Path) -> Iterator[IO[bytes]]:
    """The archive as a seekable file; a compressed one is unpacked first, up to the bound."""
    try:
        with archive.open("rb") as packed, tempfile.TemporaryFile() as plain:
            source: IO[bytes] = packed
            if packed.read(2) == b"\x1f\x8b":
                packed.seek(0)
                for piece in _inflated(packed, archive):
                    plain.write(piece)
                source = plain
            source.seek(0)
            yield source
    except (BadTar, zlib.error, EOFError) as error:
        _refuse(archive, f"it is not a tar file: {one_line(error)}")
    except OSError as error:
        _refuse(archive, f"it cannot be read: {error.strerror}")


def _inflated(packed: IO[bytes], archive: Path) -> Iterator[bytes]:
    """Pieces of a gzip stream, until its end or the bound."""
    total = 0
    unpacker = zlib.decompressobj(wbits=31)
    while data := packed.read(_CHUNK):
        while data:
            piece = unpacker.decompress(data, _CHUNK)
            total += len(piece)
            if total > MAX_UNPACKED_BYTES:
                _refuse(archive, f"it unpacks to more than {MAX_UNPACKED_BYTES} bytes")
            yield piece
            data = unpacker.unconsumed_tail
            if unpacker.eof:  # gzip members may follow one another
                data, unpacker = unpacker.unused_data, zlib.decompressobj(wbits=31)


class _Archive:
    """A vetted view of an archive: its members by name, and what may still be unpacked."""

    def __init__(self, source: IO[bytes], path: Path) -> None:
        self.path = path
        self._source = source
        self._left = MAX_UNPACKED_BYTES
        self._names_left = MAX_LAYER_NAMES
        self._members: dict[str, Member] = {}
        for count, member in enumerate(members(source), start=1):
            if count > MAX_MEMBERS:
                _refuse(path, f"it has more than {MAX_MEMBERS} members")
            self._members[posixpath.normpath(member.name)] = self._vetted(member)

    def _vetted(self, member: Member) -> Member:
        name = posixpath.normpath(member.name)
        if name.startswith(("/", "..")) or member.name.startswith("/"):
            _refuse(self.path, f"the member {one_line(member.name)} lies outside of it")
        is_plain = member.is_file or member.kind in (tarfile.DIRTYPE, tarfile.SYMTYPE)
        if not is_plain or member.is_sparse:
            _refuse(self.path, f"the member {one_line(member.name)} is neither a file nor a folder")
        self.spend(member.size)
        return member

    def spend(self, nbytes: int) -> None:
        """Count bytes that the engine will write."""
        self._left -= nbytes
        if self._left < 0:
            _refuse(self.path, f"it unpacks to more than {MAX_UNPACKED_BYTES} bytes")

    def spend_names(self, count: int) -> None:
        """Count files and folders that the engine will make."""
        self._names_left -= count
        if self._names_left < 0:
            _refuse(self.path, f"its layers hold more than {MAX_LAYER_NAMES} files and folders")

    def file(self, name: object) -> tuple[Member, IO[bytes]]:
        """A regular member; engines write a layer that comes twice as a link to the first."""
        member = self._members.get(posixpath.normpath(str(name)))
        if member is not None and member.kind == tarfile.SYMTYPE:
            target = posixpath.join(posixpath.dirname(member.name), member.link)
            member = self._members.get(posixpath.normpath(target))
        if member is None or not member.is_file:
            _refuse(self.path, f"the file {one_line(name)}, which its manifest names, is not in it")
        return member, io.BufferedReader(Window(self._source, member), _CHUNK)

    def json_file(self, name: object) -> tuple[bytes, Any]:
        """A member that holds JSON: its bytes, and what they say."""
        member, opened = self.file(name)
        if member.size > MAX_MANIFEST_BYTES:
            _refuse(self.path, f"{one_line(name)} is larger than {MAX_MANIFEST_BYTES} bytes")
        content = opened.read()
        try:
            return content, parse_json(content)
        except BadJson as error:
            _refuse(self.path, f"{one_line(name)} is not JSON: {one_line(error)}")


def _image_parts(archive: _Archive) -> tuple[str, list[tuple[str, int, IO[bytes]]]]:
    """The image's name, and what is handed to the engine: configuration, layers, manifest.

    Each part has its name, size and content. What the layers unpack to has been added up when
    this returns.
    """
    _, manifest = archive.json_file("manifest.json")
    if not isinstance(manifest, list) or len(manifest) != 1:
        count = len(manifest) if isinstance(manifest, list) else "no"
        _refuse(archive.path, f"it holds {count} images, and exactly one is wanted")
    image = manifest[0] if isinstance(manifest[0], dict) else {}
    layers = image.get("Layers")
    config, content = archive.json_file(image.get("Config"))
    if not isinstance(layers, list) or not isinstance(content, dict):
        _refuse(archive.path, "its manifest names no configuration and layers")
    if len(layers) > MAX_LAYERS:
        _refuse(archive.path, f"it has {len(layers)} layers, more than {MAX_LAYERS}")
    parts: list[tuple[str, int, IO[bytes]]] = [("config.json", len(config), io.BytesIO(config))]
    for number, layer_name in enumerate(layers):
        layer, opened = archive.file(layer_name)
        _measure_layer(archive, opened)
        parts.append((f"layer-{number}.tar", layer.size, opened))
    names = [part for part, _, _ in parts[1:]]
    name = loaded_name(config)
    own = json.dumps([{"Config": "config.json", "RepoTags": [name], "Layers": names}]).encode()
    return name, [*parts, ("manifest.json", len(own), io.BytesIO(own))]


def _tar_stream(parts: list[tuple[str, int, IO[bytes]]]) -> Iterator[bytes]:
    """A new archive of these parts, piece by piece: a large image needs no second file."""
    for name, size, content in parts:
        entry = tarfile.TarInfo(name)
        entry.size = size
        yield entry.tobuf()
        while piece := content.read(_CHUNK):
            yield piece
        yield b"\0" * (-size % tarfile.BLOCKSIZE)
    yield b"\0" * tarfile.RECORDSIZE


def _measure_layer(archive: _Archive, opened: IO[bytes]) -> None:
    """Add up what a layer's files unpack to, and their names."""
    try:
        with _plain_layer(archive, opened) as plain:
            known: set[int] = set()
            for member in members(plain):
                archive.spend(member.unpacked)
                archive.spend_names(1 + _new_folders(member.name, known))
            while rest := plain.read(_CHUNK):  # what a compressed layer hides behind its end
                archive.spend(len(rest))
    except BadTar as error:
        _refuse(archive.path, f"a layer is not a tar file that can be measured: {error}")
    except (EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # the archive itself cannot be read
            raise
        _refuse(archive.path, "a layer's compression is broken")
    opened.seek(0)


@contextmanager
def _plain_layer(archive: _Archive, opened: IO[bytes]) -> Iterator[IO[bytes]]:
    """A layer unpacked as it is read; the layer itself stays open."""
    magic = opened.read(6)
    opened.seek(0)
    for begin, kind in _UNMEASURED.items():
        if magic.startswith(begin):
            _refuse(archive.path, f"a layer is compressed with {kind}, which cannot be measured")
    if magic.startswith(b"\x1f\x8b"):
        with gzip.GzipFile(fileobj=opened) as plain:
            yield plain  # type: ignore[misc]  # its read takes and gives the same
    elif magic.startswith(b"BZh"):
        with bz2.BZ2File(opened) as plain:
            yield plain
    else:
        yield opened


def _new_folders(name: str, known: set[int]) -> int:
    """How many folders above a name appear for the first time; the engine makes them unasked."""
    path = posixpath.normpath("/" + name)
    known.add(hash(path))
    count = 0
    while (path := posixpath.dirname(path)) != "/" and hash(path) not in known:
        known.add(hash(path))
        count += 1
    return count


def _refuse(archive: Path, problem: str) -> NoReturn:
    raise EntryInvalid(
        f"the image archive cannot be loaded: {problem}",
        where=str(archive),
        fix="make it with: docker save --output archive.tar IMAGE",
    )
