"""Two fresh starts of one program, as the audit has them: are their answers equal, and if not, how far apart?

The measures are the audit's own (`harness/running/alike.py`): what is more than rounding, as a share
of the middle half, and the shift among all of a run's numbers. Beside them stand its constants, so
that the table shows whether these are wide enough, and whether they are needlessly wide.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.engines.base import Engine, Launch, Limits
from harness.entries.identity import folder_identity
from harness.running.alike import NEAR, RANK_SHIFT, SCORES, Distribution
from harness.running.audit import IMAGES
from harness.session.conversation import Answer, Hello, PredictSession, Question
from tests.baselines.conftest import BASELINES
from tests.benchmarks.baseline_costs.generated import Form, picture
from tests.benchmarks.gpu_day.driver import launch_device


def measure(
    entry: str,
    device: str,
    params: Mapping[str, Any],
    engine: Engine,
    *,
    form: Form,
    model: Path | None,
    threads: int,
    images: int = IMAGES,
) -> dict[str, Any]:
    """Start a baseline twice, ask both the same images, and compare.

    Args:
        device: `cpu` or `cuda:<index>`.
        form: of the images.
        model: the trained model's folder; None for a method that does not train.
        images: how many.
    """
    folder = BASELINES / entry
    program = engine.prepare_folder(folder, entry, folder_identity(folder))
    launch = Launch(
        program, "predict", device=launch_device(device), limits=Limits(threads=threads), model=model
    )  # fmt: skip
    hello = Hello(
        "demo", 0, "cpu" if device == "cpu" else "cuda:0", maps_wanted=True, params=params
    )
    questions = [Question(picture(form, 2000 + number), number) for number in range(images)]
    first, second = (_asked(engine, launch, hello, questions) for _ in range(2))
    return {
        **compare(first, second),
        "latency_seconds": float(np.median([answer.latency_seconds for answer in second])),
        "rank_shift_allowed": RANK_SHIFT,
        "distance_allowed": NEAR,
    }


def _asked(
    engine: Engine, launch: Launch, hello: Hello, questions: Sequence[Question]
) -> list[Answer]:
    with engine.start(replace(launch)) as running:
        session = PredictSession(running, launch, hello)
        session.start()
        answers = list(session.ask(questions))
        session.finish()
    return answers


def compare(first: Sequence[Answer], second: Sequence[Answer]) -> dict[str, Any]:
    """How far two starts lie apart, scores and maps; each is measured among the first's numbers."""
    scores = Distribution.of([answer.score for answer in first], SCORES)
    pairs = [
        (a.anomaly_map, b.anomaly_map)
        for a, b in zip(first, second, strict=True)
        if a.anomaly_map is not None and b.anomaly_map is not None
    ]
    ones, others = [a.score for a in first], [b.score for b in second]
    found: dict[str, Any] = {
        "images": len(first),
        "scores": _told(scores, [(np.array(ones), np.array(others))]),
        "maps": _told(Distribution.of_maps([a for a, _ in pairs]), pairs) if pairs else None,
    }
    found["is_equal"] = all(part["other"] == 0 for part in (found["scores"], found["maps"]) if part)
    found["is_alike"] = all(part["is_alike"] for part in (found["scores"], found["maps"]) if part)
    return found


def _told(
    measure_of: Distribution, pairs: Sequence[tuple[np.ndarray, np.ndarray]]
) -> dict[str, Any]:
    """Over all pairs: how many numbers differ, and the largest distance and shift."""
    found = [asdict(measure_of.apart(one, other)) for one, other in pairs]
    distance = max(part["distance"] for part in found)
    return {
        "numbers": sum(one.size for one, _ in pairs),
        "other": sum(part["other"] for part in found),
        "far": sum(part["far"] for part in found),
        "distance": distance if math.isfinite(distance) else None,
        "shift": max(part["shift"] for part in found),
        "is_alike": all(measure_of.is_alike(one, other) for one, other in pairs),
    }
