"""What engines and registries say of a pull that failed, and who can mend it."""

from __future__ import annotations

import pytest

from harness.common.errors import EntryInvalid
from harness.common.statuses import Cause, RunEnded, Status
from harness.engines.oci.pull_faults import pull_fault


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("unauthorized: authentication required", Cause.REFUSED_LOGIN),
        ("pull access denied for x, repository does not exist or may require 'docker login'", Cause.REFUSED_LOGIN),
        ("Head \"https://r/v2/x/manifests/1\": no basic auth credentials", Cause.REFUSED_LOGIN),
        ("received unexpected HTTP status: 403 Forbidden", Cause.REFUSED_LOGIN),
        ("toomanyrequests: You have reached your pull rate limit", Cause.RATE_LIMIT),
        ("received unexpected HTTP status: 429 Too Many Requests", Cause.RATE_LIMIT),
        ("manifest for x:1 not found: manifest unknown: manifest unknown", Cause.NO_SUCH_IMAGE),
        ("Get \"https://r/v2/\": dial tcp: lookup r on 127.0.0.11:53: no such host", Cause.NO_REGISTRY),
        ("Get \"https://r/v2/\": x509: certificate signed by unknown authority", Cause.NO_REGISTRY),
        ("Get \"https://r/v2/\": net/http: TLS handshake timeout", Cause.NO_REGISTRY),
        ("Get \"https://r/v2/\": context deadline exceeded (Client.Timeout exceeded)", Cause.NO_REGISTRY),
        ("received unexpected HTTP status: 502 Bad Gateway", Cause.NO_REGISTRY),
        ("failed to register layer: write /usr/x: no space left on device", Cause.DISK_FULL),
        ("something nobody has seen before", None),
    ],
)  # fmt: skip
def test_each_answer_has_its_cause(said: str, cause: Cause | None) -> None:
    end = pull_fault("r/x:1", said)
    assert isinstance(end, RunEnded)
    assert (end.status, end.cause) == (Status.IMAGE_UNAVAILABLE, cause)
    assert said[:50] in end.detail


@pytest.mark.parametrize(
    "said",
    [
        "no matching manifest for linux/amd64 in the manifest list entries",
        "image with reference x was found but does not match the specified platform: wanted linux/amd64",
    ],
)
def test_an_image_for_arm64_alone_is_its_authors(said: str) -> None:
    end = pull_fault("r/x:1", said)
    assert isinstance(end, EntryInvalid)
    assert "--platform linux/amd64" in end.fix
