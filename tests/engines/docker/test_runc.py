"""The engine's runc: an old one is refused for strangers' images, one that proves nothing is told of."""

from __future__ import annotations

import pytest

from harness.common.errors import EnvironmentFault
from harness.engines.docker import DockerEngine, runc
from harness.engines.docker.runc import Runc, judge, runc_of

OWN = "v1.1.12-0-g51d5e94"


@pytest.mark.parametrize(
    ("version", "commit", "verdict"),
    [
        ("1.1.5", "", "old"),
        ("1.1.11", "v1.1.11-0-g4bccb38", "old"),
        ("1.1.12", OWN, "old"),  # CVE-2024-21626 is mended, those of 2025 are not
        ("1.1.15", "", "old"),
        ("1.2.7", "v1.2.7-0-g6fd9a5e8", "old"),
        ("1.2.8", "v1.2.8-0-geeb7e60", "safe"),
        ("1.2.10", "", "safe"),
        ("1.3.0-rc.1", "", "old"),
        ("1.3.2", "v1.3.2-0-gaeabe4e7", "old"),
        ("1.3.3", "v1.3.3-0-gd842d771", "safe"),
        ("1.4.0-rc.1", "", "old"),
        ("1.4.0-rc.2", "", "old"),
        ("1.4.0-rc.3", "", "safe"),
        ("1.4.0", "", "safe"),
        ("1.10.0", "", "safe"),
        ("2.0.0", "", "safe"),
        ("1.0.0-rc93", "12644e614e25b05da6fd08a38ffa0cfe1903fdec", "old"),
        ("1.1.5+ds1", "1.1.5+ds1-1+deb12u1", "unknown"),  # Debian
        ("1.1.5", "1.1.5+ds1-1+deb12u1", "unknown"),
        ("1.1.12-0ubuntu2~22.04.1", "", "unknown"),
        ("1.3.3-0ubuntu1~24.04.3", "", "safe"),
        ("runc version 1.2.7\ncommit: v1.2.7-0-g6fd9a5e8", "", "old"),
        ("", "", "unknown"),
        ("nightly", "", "unknown"),
    ],
)
def test_a_version_is_judged_by_what_it_proves(version, commit, verdict) -> None:
    assert judge(version, commit).verdict == verdict


def component(name: str, version: str, commit: str = "") -> dict:
    return {"Name": name, "Version": version, "Details": {"GitCommit": commit}}


def test_the_engine_tells_its_runc() -> None:
    parts = [component("Engine", "20.10.24"), component("runc", "1.1.11", "v1.1.11-0-g4bccb38")]
    assert runc_of({"Components": parts}, "runc") == Runc("old", "1.1.11")
    assert runc_of({"Components": parts}, "nvidia") == Runc("old", "1.1.11")
    assert runc_of({"Components": parts}, "runsc") is None
    assert runc_of({"Components": parts[:1]}, "runc").verdict == "unknown"
    assert runc_of({}, "runc").verdict == "unknown"
    podman = [component("Podman Engine", "4.3.1"), component("OCI Runtime (crun)", "crun 1.8.1")]
    assert runc_of({"Components": podman}, "") is None
    podman[1] = component("OCI Runtime (runc)", "runc version 1.1.5+ds1\ncommit: x")
    assert runc_of({"Components": podman}, "") == Runc("unknown", "1.1.5+ds1")


class Client:
    """An engine's API that tells its versions."""

    def __init__(self, version: str) -> None:
        self.told = {"Components": [component("runc", version)]}

    def version(self) -> dict:
        return self.told

    def info(self) -> dict:
        return {"DefaultRuntime": "runc"}


def engine_with(version: str) -> DockerEngine:
    engine = DockerEngine()
    engine.__dict__["client"] = Client(version)
    return engine


@pytest.mark.parametrize(
    ("version", "strict", "is_foreign", "is_refused"),
    [
        ("1.1.11", "", True, True),
        ("1.1.11", "", False, False),
        ("1.3.3", "strict", True, False),
        ("1.1.5+ds1", "", True, False),
        ("1.1.5+ds1", "strict", True, True),
        ("1.1.5+ds1", "strict", False, False),
        ("", "strict", True, True),
    ],
)
def test_an_old_runc_is_refused_for_strangers_and_what_proves_nothing_is_told_of(
    monkeypatch, caplog, version, strict, is_foreign, is_refused
) -> None:
    monkeypatch.setenv(runc.VARIABLE, strict)
    engine = engine_with(version)
    if is_refused:
        with pytest.raises(EnvironmentFault, match="CVE-2024-21626") as caught:
            engine._check_runc(is_foreign=is_foreign)
        assert "newer runc" in caught.value.fix
        for refused in (engine.prepare_image, engine.prepare_archive):
            with pytest.raises(EnvironmentFault, match="runc"):
                refused("a/strangers:image", "image")
        return
    for _ in range(3):
        engine._check_runc(is_foreign=is_foreign)
    assert caplog.text.count("runc") == (0 if version == "1.3.3" else 1), "told once"


@pytest.mark.engine
def test_the_real_engine_tells_a_runc_or_that_it_uses_none() -> None:
    found = DockerEngine()._runc
    assert found is None or found.name
