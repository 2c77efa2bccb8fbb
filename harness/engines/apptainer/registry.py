"""Fetches an image from a registry, each part compared with its digest, into an archive to be vetted.

Apptainer would unpack what it pulls before anybody has looked at it. So the harness asks the registry
itself, and what comes is looked at like any archive.

Format: OCI distribution specification 1.1, «Pulling»; Docker's token authentication (distribution
documentation, «Token Authentication Specification»). Credentials are those of `docker login`
($DOCKER_CONFIG/config.json).

Trap: a registry redirects to a store of another's; what proves who we are is not sent on there.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import re
import tarfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Any

from harness.common.errors import EntryInvalid
from harness.common.json_text import BadJson, parse_json
from harness.engines.oci.archive import MAX_LAYERS, MAX_MANIFEST_BYTES, MAX_UNPACKED_BYTES
from harness.engines.oci.pull_faults import pull_fault

ASK_SECONDS = 60.0
HUB = "docker.io"
_HUB_HOST = "registry-1.docker.io"
_LISTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::\d{1,5})?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Reference:
    """An image's name, taken apart."""

    written: str
    """Its repository as it was written, for the record."""
    host: str
    """The registry's, with its port."""
    repository: str
    """Its name there."""
    version: str
    """Tag or digest."""

    @property
    def address(self) -> str:
        """Of the registry's interface; without TLS on this machine alone, as engines have it."""
        name = self.host.partition(":")[0]
        return f"{'http' if name in ('localhost', '127.0.0.1') else 'https'}://{self.host}/v2"


def read_reference(text: str) -> Reference:
    """Take an image's name apart, as Docker does.

    Raises:
        EntryInvalid: it is none, or an id, which no registry knows.
    """
    name, _, digest = text.removeprefix("docker://").partition("@")
    head, slash, tail = name.rpartition("/")
    last, _, tag = tail.partition(":")
    written = f"{head}{slash}{last}"
    host, _, repository = written.partition("/")
    if not repository or not ("." in host or ":" in host or host == "localhost"):
        host, repository = HUB, written
    if host == HUB and "/" not in repository:
        repository = f"library/{repository}"
    version = digest or tag or "latest"
    is_place = _HOST.fullmatch(host) and _REPOSITORY.fullmatch(repository)
    is_version = _DIGEST.fullmatch(version) if digest else _TAG.fullmatch(version)
    if not is_place or not is_version or text.endswith((":", "@")) or written == "sha256":
        raise EntryInvalid(
            "this is no image reference of a registry's",
            where=text,
            fix="write it as name:tag or name@sha256:digest; this engine has no images by other names",
        )
    return Reference(written, _HUB_HOST if host == HUB else host, repository, version)


def fetch_image(text: str, archive: Path) -> str:
    """Fetch an image for this machine into a new archive, as `docker save` writes it.

    Args:
        text: the image's name.
        archive: the file that is written.
    Returns:
        `name@sha256:…`, its name by digest.
    Raises:
        EntryInvalid: this is no reference, or the image is for other machines alone.
        RunEnded: `image_unavailable`, with its cause.
    """
    asked = _Registry(read_reference(text), text)
    digest, manifest = asked.manifest()
    config, layers = manifest.get("config"), manifest.get("layers")
    if not isinstance(config, dict) or not isinstance(layers, list) or len(layers) > MAX_LAYERS:
        raise pull_fault(text, "its manifest names no configuration and layers")
    with tarfile.open(archive, "w") as tar:
        asked.add_blob(tar, "config.json", config, MAX_MANIFEST_BYTES)
        left = MAX_UNPACKED_BYTES
        for number, layer in enumerate(layers):
            left -= asked.add_blob(tar, f"layer-{number}.tar", layer, left)
        names = [f"layer-{number}.tar" for number in range(len(layers))]
        own = json.dumps([{"Config": "config.json", "RepoTags": [], "Layers": names}]).encode()
        entry = tarfile.TarInfo("manifest.json")
        entry.size = len(own)
        tar.addfile(entry, _Bytes(own))
    return f"{asked.reference.written}@{digest}"


def digest_of(text: str) -> str:
    """The digest that a registry gives for this name now.

    Raises:
        EntryInvalid, RunEnded: as `fetch_image`.
    """
    return _Registry(read_reference(text), text).manifest()[0]


class _Registry:
    """One repository of a registry; every error is told as what became of the pull of `text`."""

    def __init__(self, reference: Reference, text: str) -> None:
        self.reference = reference
        self._text = text
        self._authorization: str | None = None

    def manifest(self) -> tuple[str, Mapping[str, Any]]:
        """The digest of what the name means, and the manifest for this machine."""
        content = self._document("manifests", self.reference.version)
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        told = self._parsed(content)
        if isinstance(told.get("manifests"), list):
            told = self._parsed(self._document("manifests", self._for_this_machine(told)))
        return digest, told

    def _for_this_machine(self, listed: Mapping[str, Any]) -> str:
        wanted = _ARCHITECTURES.get(platform.machine(), platform.machine())
        for each in listed["manifests"]:
            place = each.get("platform") or {} if isinstance(each, dict) else {}
            if (place.get("os"), place.get("architecture")) == ("linux", wanted):
                return str(each.get("digest"))
        raise pull_fault(self._text, f"no matching manifest for linux/{wanted}")

    def _document(self, kind: str, version: str) -> bytes:
        """A small document, compared with its digest where it is asked for by one."""
        with self._opened(f"{kind}/{version}") as answer:
            content = answer.read(MAX_MANIFEST_BYTES + 1)
        if len(content) > MAX_MANIFEST_BYTES:
            raise pull_fault(self._text, f"its manifest has more than {MAX_MANIFEST_BYTES} bytes")
        if (
            _DIGEST.fullmatch(version)
            and version != f"sha256:{hashlib.sha256(content).hexdigest()}"
        ):
            raise pull_fault(self._text, f"what the registry gave is not {version}")
        return content

    def _parsed(self, content: bytes) -> Mapping[str, Any]:
        try:
            told = parse_json(content)
        except BadJson as error:
            raise pull_fault(self._text, f"its manifest is no JSON: {error}") from error
        if not isinstance(told, dict):
            raise pull_fault(self._text, "its manifest is no object")
        return told

    def add_blob(self, tar: tarfile.TarFile, name: str, described: object, most: int) -> int:
        """Write a part of the image to the archive as it comes; returns its size."""
        told = described if isinstance(described, dict) else {}
        digest, size = told.get("digest"), told.get("size")
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise pull_fault(self._text, "its manifest gives no digest that can be checked")
        if not isinstance(size, int) or not 0 <= size <= most:
            raise pull_fault(self._text, f"it has more than {MAX_UNPACKED_BYTES} bytes")
        entry = tarfile.TarInfo(name)
        entry.size = size
        with self._opened(f"blobs/{digest}") as answer:
            hashed = _Hashed(answer)
            try:
                tar.addfile(entry, hashed)
            except (OSError, HTTPException) as error:
                raise pull_fault(self._text, str(error)) from error
        if f"sha256:{hashed.digest.hexdigest()}" != digest:
            raise pull_fault(self._text, f"what the registry gave is not {digest}")
        return size

    def _opened(self, path: str) -> HTTPResponse:
        """An answer of the registry's; who we are is proved when it asks for it."""
        for is_last in (False, True):
            try:
                return _answer(f"{self._address}/{path}", self._authorization)
            except urllib.error.HTTPError as error:
                error.close()
                if error.code != 401 or is_last:
                    raise pull_fault(self._text, _said(error)) from error
                self._authorization = self._proof(error.headers.get("WWW-Authenticate", ""))
            except (OSError, HTTPException) as error:
                raise pull_fault(self._text, f"dial tcp: {error}") from error
        raise AssertionError("the second answer is the last")

    @property
    def _address(self) -> str:
        return f"{self.reference.address}/{self.reference.repository}"

    def _proof(self, asked: str) -> str | None:
        """What the registry wants to see: a token of its own service, or name and password."""
        basic = _credentials(self.reference.host)
        kind, _, rest = asked.partition(" ")
        told = dict(_CHALLENGE.findall(rest))
        if kind.lower() != "bearer" or "realm" not in told:
            return basic
        scope = f"repository:{self.reference.repository}:pull"
        query = {"service": told.get("service", ""), "scope": scope}
        try:
            with _answer(f"{told['realm']}?{urllib.parse.urlencode(query)}", basic) as answer:
                given = self._parsed(answer.read(MAX_MANIFEST_BYTES))
        except urllib.error.HTTPError as error:
            error.close()
            raise pull_fault(self._text, _said(error)) from error
        except (OSError, HTTPException) as error:
            raise pull_fault(self._text, f"dial tcp: {error}") from error
        return f"Bearer {given.get('token') or given.get('access_token')}"


def _answer(address: str, authorization: str | None) -> HTTPResponse:
    """Ask; a registry names addresses, which may lead to files of this machine.

    Raises:
        OSError: nobody answers, or with an error (`HTTPError`).
    """
    if not address.startswith(("http://", "https://")):
        raise OSError(f"{address[:60]} is no address of the web")
    request = urllib.request.Request(address)  # noqa: S310 - looked at above
    request.add_header("Accept", ", ".join((*_LISTS, *_MANIFESTS, "*/*")))
    if authorization:
        request.add_unredirected_header("Authorization", authorization)
    answer: HTTPResponse = urllib.request.urlopen(request, timeout=ASK_SECONDS)  # noqa: S310
    return answer


def _said(error: urllib.error.HTTPError) -> str:
    """A refusal in an engine's words, by which its cause is told (`pull_faults.py`)."""
    if error.code == 404:
        return "manifest unknown: not found"
    return f"HTTP status: {error.code}, {error.reason}"


def _credentials(host: str) -> str | None:
    """What `docker login` has kept for a registry; nothing where a program of its own keeps it."""
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    try:
        kept = json.loads((folder / "config.json").read_text(encoding="utf-8"))["auths"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    names = (host, f"https://{host}") if host != _HUB_HOST else ("https://index.docker.io/v1/", HUB)
    for name in names:
        told = kept.get(name) if isinstance(kept, dict) else None
        if isinstance(told, dict) and told.get("auth"):
            return f"Basic {told['auth']}"
    return None


class _Hashed:
    """A stream that is hashed as it is read."""

    def __init__(self, source: IO[bytes] | HTTPResponse) -> None:
        self.digest = hashlib.sha256()
        self._source = source

    def read(self, count: int = _CHUNK) -> bytes:
        """At most so many bytes; fewer only at the end."""
        data = self._source.read(count)
        self.digest.update(data)
        return data


class _Bytes(_Hashed):
    """Bytes that are there already."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
