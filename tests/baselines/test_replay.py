"""A replayed step: called on a CPU; captured once on a GPU, here a stand-in for torch's graphs."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from baselines.kit.replay import WARM_UP, Replayed


def test_a_cpu_runs_the_step_at_each_call() -> None:
    runs: list[int] = []
    replayed = Replayed(lambda: runs.append(1), torch.device("cpu"))
    replayed()
    replayed()
    assert len(runs) == 2


def test_a_gpu_captures_once_after_warming_up_aside_and_then_replays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []

    class Stream:
        def __init__(self, name: Any) -> None:
            self.name = name if isinstance(name, str) else "aside"

        def wait_stream(self, other: Stream) -> None:
            told.append(f"{self.name} waits for {other.name}")

    @contextmanager
    def within(what: Any) -> Any:
        told.append(f"into {what.name}")
        yield
        told.append(f"out of {what.name}")

    graph = SimpleNamespace(name="graph", replay=lambda: told.append("replay"))
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _device: Stream("main"))
    monkeypatch.setattr(torch.cuda, "stream", within)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: graph)
    monkeypatch.setattr(torch.cuda, "graph", within)
    replayed = Replayed(lambda: told.append("step"), torch.device("cuda"))
    replayed()
    replayed()
    assert told == [
        "aside waits for main",
        "into aside", *["step"] * WARM_UP, "out of aside",
        "main waits for aside",
        "into graph", "step", "out of graph",
        "replay", "replay",
    ]  # fmt: skip
