"""Images of registries: fetched part by part, each compared with its digest, then vetted like any archive."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.common.errors import EntryInvalid
from harness.common.statuses import Cause, RunEnded, Status
from harness.engines.apptainer import registry
from harness.engines.oci.archive import opened_image
from tests.engines.registry import Registry, digest_of, image_config, local_registry, tiny_layer


@pytest.fixture
def served():
    with local_registry() as found:
        yield found


def named(served: Registry, version: str) -> str:
    return f"localhost:{served.port}/tiny{version}"


def test_an_image_is_fetched_and_is_the_same_as_under_docker(served, tmp_path: Path) -> None:
    digest = served.push("v1", b"first")
    archive = tmp_path / "image.tar"
    for version in (":v1", f"@{digest}"):
        archive.unlink(missing_ok=True)
        assert registry.fetch_image(named(served, version), archive) == named(served, f"@{digest}")
        with opened_image(archive) as image:
            image.check_layers()
            assert image.image_id == digest_of(image_config(tiny_layer(b"first")))
    assert registry.digest_of(named(served, ":v1")) == digest


def test_what_is_not_its_digest_is_refused(served, tmp_path: Path) -> None:
    digest = served.push("v1", b"first")
    for part in ("config", "manifest"):
        manifest = json.loads(served.blobs[digest])
        changed = manifest["config"]["digest"] if part == "config" else digest
        kept = served.blobs[changed]
        served.blobs[changed] = kept.replace(b"linux", b"Linux") + b" " * (part == "manifest")
        with pytest.raises(RunEnded, match="not sha256") as caught:
            registry.fetch_image(named(served, f"@{digest}"), tmp_path / f"{part}.tar")
        assert caught.value.status is Status.IMAGE_UNAVAILABLE
        served.blobs[changed] = kept


def test_a_layer_that_is_not_what_the_configuration_names_is_refused(
    served, tmp_path: Path
) -> None:
    config = image_config(tiny_layer(b"promised"))
    served._put("v1", config, [tiny_layer(b"delivered")])
    registry.fetch_image(named(served, ":v1"), tmp_path / "image.tar")
    with opened_image(tmp_path / "image.tar") as image, pytest.raises(EntryInvalid, match="layer"):
        image.check_layers()


def test_an_image_for_other_machines_alone_is_its_authors_to_mend(served, tmp_path: Path) -> None:
    served.push_for("v1", "s390x")
    with pytest.raises(EntryInvalid, match="other machines"):
        registry.fetch_image(named(served, ":v1"), tmp_path / "image.tar")


@pytest.mark.parametrize(
    ("refusal", "cause"),
    [
        (None, Cause.NO_SUCH_IMAGE),
        ((401, "UNAUTHORIZED"), Cause.REFUSED_LOGIN),
        ((429, "TOOMANYREQUESTS"), Cause.RATE_LIMIT),
        ((503, "UNAVAILABLE"), Cause.NO_REGISTRY),
    ],
)
def test_a_refusal_has_its_cause(served, tmp_path: Path, refusal, cause) -> None:
    if refusal is not None:
        served.refusals["absent"] = refusal
    with pytest.raises(RunEnded) as caught:
        registry.fetch_image(named(served, ":absent"), tmp_path / "image.tar")
    assert (caught.value.status, caught.value.cause) == (Status.IMAGE_UNAVAILABLE, cause)


def test_a_registry_that_does_not_answer_is_one_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunEnded) as caught:
        registry.fetch_image("localhost:1/no/registry:v1", tmp_path / "image.tar")
    assert caught.value.cause is Cause.NO_REGISTRY


@pytest.mark.parametrize(
    ("text", "host", "repository", "version"),
    [
        ("python", "registry-1.docker.io", "library/python", "latest"),
        ("docker://lab/net:v2", "registry-1.docker.io", "lab/net", "v2"),
        ("ghcr.io/lab/net:v2", "ghcr.io", "lab/net", "v2"),
        ("localhost:5000/net", "localhost:5000", "net", "latest"),
        (f"lab/net:v2@sha256:{'a' * 64}", "registry-1.docker.io", "lab/net", f"sha256:{'a' * 64}"),
    ],
)
def test_a_name_is_taken_apart_as_docker_does(
    text: str, host: str, repository: str, version: str
) -> None:
    found = registry.read_reference(text)
    assert (found.host, found.repository, found.version) == (host, repository, version)


@pytest.mark.parametrize(
    "text", ["sha256:" + "a" * 64, "Lab/net", "net:", "net@sha256:1", "../x", ""]
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(EntryInvalid, match="no image reference"):
        registry.read_reference(text)


def test_an_address_that_leads_to_this_machines_files_is_not_followed(served, tmp_path) -> None:
    with pytest.raises(OSError, match="no address of the web"):
        registry._answer("file:///etc/passwd", None)
