"""A registry on this machine that holds small images, for the tests of pulling."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tiny_layer(content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("content")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def image_config(layer: bytes, **config: object) -> bytes:
    return json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": ["/content"], **config},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(layer)]},
        }
    ).encode()


class Registry:
    """Manifests and blobs by their digests; `tags` can be moved.

    `refusals` has status and error code for tags that are not handed out.
    """

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.tags: dict[str, str] = {}
        self.refusals: dict[str, tuple[int, str]] = {}
        self.lists: set[str] = set()
        self.port = 0

    def push(self, tag: str, content: bytes) -> str:
        """Put a tiny image under a tag; returns its digest."""
        layer = tiny_layer(content)
        return self._put(tag, image_config(layer), [layer])

    def push_for(self, tag: str, architecture: str) -> str:
        """Put a list of images for one architecture under a tag; returns its digest."""
        digest = self.push(tag, b"other")
        listed = {
            "mediaType": MANIFEST,
            "size": len(self.blobs[digest]),
            "digest": digest,
            "platform": {"architecture": architecture, "os": "linux"},
        }
        index = json.dumps({"schemaVersion": 2, "mediaType": LIST, "manifests": [listed]}).encode()
        self.blobs[digest_of(index)] = index
        self.lists.add(digest_of(index))
        self.tags[tag] = digest_of(index)
        return digest_of(index)

    def push_archive(self, tag: str, archive: Path) -> str:
        """Put the image of a `docker save` archive under a tag; returns its digest."""
        with tarfile.open(archive) as tar:

            def member(name: str) -> bytes:
                return tar.extractfile(name).read()

            (image,) = json.loads(member("manifest.json"))
            layers = [member(name) for name in image["Layers"]]
            return self._put(tag, member(image["Config"]), layers)

    def _put(self, tag: str, config: bytes, layers: list[bytes]) -> str:
        self.blobs |= {digest_of(data): data for data in (config, *layers)}

        def described(data: bytes) -> dict[str, object]:
            return {"size": len(data), "digest": digest_of(data)}

        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": {
                    "mediaType": "application/vnd.docker.container.image.v1+json",
                    **described(config),
                },
                "layers": [
                    {
                        "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                        **described(layer),
                    }
                    for layer in layers
                ],
            }
        ).encode()
        self.blobs[digest_of(manifest)] = manifest
        self.tags[tag] = digest_of(manifest)
        return digest_of(manifest)


@contextmanager
def local_registry() -> Iterator[Registry]:
    """Serve a registry on a free local port, which engines take without TLS."""
    registry = Registry()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, _, name = self.path.rpartition("/")
            refused, code = registry.refusals.get(name, (404, "MANIFEST_UNKNOWN"))
            name = registry.tags.get(name, name)
            found = b"{}" if self.path == "/v2/" else registry.blobs.get(name)
            self.send_response(refused if found is None else 200)
            if found is None:
                found = json.dumps({"errors": [{"code": code, "message": "no"}]}).encode()
            is_manifest = kind.endswith("/manifests")
            manifest = LIST if name in registry.lists else MANIFEST
            self.send_header("Content-Type", manifest if is_manifest else "application/json")
            self.send_header("Docker-Content-Digest", name)
            self.send_header("Content-Length", str(len(found or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(found or b"")

        do_HEAD = do_GET  # noqa: N815 - the server's own naming

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    registry.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
