"""Measures the same method in anomalib's own engine, where anomalib has it, in this process.

The library's Lightning module, its folder data module and its trainer, as its users run them:
same network, image size, batch and precision as ours; random weights; no validation. Its losses,
optimisers and augmentations are its own. Trap: it has nothing for f-AnoGAN, UTRAD, DeepSVDD,
CutPaste, SimpleNet (its Supersimplenet is another method) and MKD.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import torch

from tests.benchmarks.baseline_costs.generated import training_folder
from tests.benchmarks.baseline_costs.ours import Task, memory

Params = Mapping[str, Any]
# Class in `anomalib.models`, and its arguments by our settings.
MODELS: dict[str, tuple[str, Callable[[Params, Path], dict[str, Any]]]] = {
    "cfa": ("Cfa", lambda p, _: {"backbone": p["backbone"]}),
    "cflow": (
        "Cflow",
        lambda p, _: {
            "backbone": p["backbone"],
            "layers": p["layers"],
            "pre_trained": False,
            "fiber_batch_size": p["fibre_batch_size"],
            "coupling_blocks": p["coupling_blocks"],
            "condition_vector": p["condition_dims"],
        },
    ),
    "cs-flow": ("Csflow", lambda p, _: {"cross_conv_hidden_channels": p["hidden_channels"]}),
    # An empty folder of textures: Perlin noise, as ours.
    "draem": ("Draem", lambda _, empty: {"dtd_dir": empty}),
    "ganomaly": (
        "Ganomaly",
        lambda p, _: {
            "batch_size": p["batch_size"],
            "n_features": p["width"],
            "latent_vec_size": p["code_size"],
        },
    ),
    "padim": (
        "Padim",
        lambda p, _: {
            "backbone": p["backbone"],
            "pre_trained": False,
            "n_features": p[f"channels_{p['backbone']}"],
        },
    ),
    "patchcore": ("Patchcore", lambda p, _: {"backbone": p["backbone"], "pre_trained": False}),
    "rd4ad": (
        "ReverseDistillation",
        lambda p, _: {"backbone": p["backbone"], "pre_trained": False},
    ),
    "stfpm": ("Stfpm", lambda p, _: {"backbone": p["backbone"], "layers": p["layers"]}),
}
SINGLE_PASS = ("padim", "patchcore")
SINGLE_PASS_IMAGES = 1024  # a memory bank keeps all patches of all images
PATCH_SIDE = 8  # pixels of PatchCore's grid
WORKERS = 8  # anomalib's default; none beside a single-threaded CPU


@contextmanager
def random_weights() -> Iterator[None]:
    """Inside, no model of timm or torchvision asks for pretrained weights."""
    import timm
    import torchvision
    from anomalib.models.image.csflow import torch_model as csflow

    create = timm.create_model
    wide, small = torchvision.models.wide_resnet50_2, torchvision.models.efficientnet_b5

    def untrained(*of: Any, **more: Any) -> Any:
        return create(*of, **{**more, "pretrained": False})

    def random_wide(weights: Any) -> Any:
        return wide()

    def random_small(weights: Any) -> Any:
        return small()

    with (
        mock.patch.object(timm, "create_model", untrained),
        mock.patch.object(torchvision.models, "wide_resnet50_2", random_wide),
        mock.patch.object(csflow, "efficientnet_b5", random_small),
    ):
        yield


def measure(task: Task) -> dict[str, Any]:
    """Images a second of anomalib's training, after a warm-up."""
    import anomalib.models
    from anomalib.data import Folder
    from lightning.pytorch.callbacks import Callback

    name, arguments = MODELS[task.entry]
    is_gpu = task.device.type == "cuda"
    is_mixed = is_gpu and task.params.get("precision") == "mixed"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # as ours
    if threads := os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(threads))
    is_single = task.entry in SINGLE_PASS
    images = min(task.images, SINGLE_PASS_IMAGES) if is_single else task.images
    ticks = _ticks(Callback, task)
    with TemporaryDirectory() as place, random_weights():
        empty = Path(place) / "textures"
        empty.mkdir()
        made = getattr(anomalib.models, name)
        size = (task.params["image_size"],) * 2
        chosen = arguments(task.params, empty)
        if task.entry == "patchcore":  # two patches: its pass is measured, not its selection
            chosen["coreset_sampling_ratio"] = 2 / (images * (size[0] // PATCH_SIDE) ** 2)
        model = made(
            **chosen,
            pre_processor=made.configure_pre_processor(size),
            evaluator=False,
            visualizer=False,
        )
        data = Folder(
            "generated",
            normal_dir=training_folder(task.data, task.form, images),
            train_batch_size=task.params["batch_size"],
            num_workers=WORKERS if is_gpu else 0,
            test_split_mode="none",
            val_split_mode="none",
        )
        engine = _engine(task, place, ticks, precision="bf16-mixed" if is_mixed else "32-true")
        began = time.perf_counter()
        engine.fit(model, datamodule=data)
        ended = time.perf_counter()
    return {
        "class": f"anomalib.models.{name}",
        "precision": "bfloat16, mixed" if is_mixed else "float32",
        "workers": WORKERS if is_gpu else 0,
        "batch_size": task.params["batch_size"],
        "steps": ticks.steps,
        "seconds_per_image": ticks.seconds / max(1, ticks.images),
        "fit_seconds": ended - began,
        "after_last_batch_seconds": ended - ticks.last,
        "memory": memory(task.device),
    }


def _engine(task: Task, place: str, ticks: Any, *, precision: str) -> Any:
    """anomalib's trainer, with nothing beside the training; one epoch is a whole single pass."""
    from anomalib.engine import Engine

    is_gpu = task.device.type == "cuda"
    return Engine(
        default_root_dir=place,
        accelerator="gpu" if is_gpu else "cpu",
        devices=[task.device.index or 0] if is_gpu else 1,
        precision=precision,
        max_epochs=1 if task.entry in SINGLE_PASS else 10_000,
        limit_val_batches=0,
        logger=False,
        callbacks=[ticks],
        enable_progress_bar=False,
    )


def _ticks(base: type, task: Task) -> Any:
    """A callback that times the batches after a warm-up, and stops the trainer after a while."""

    class Ticks(base):  # type: ignore[misc]
        steps = images = 0
        seconds = last = 0.0
        _seen, _mark = 0, 0.0

        def on_train_batch_end(
            self, trainer: Any, model: Any, outputs: Any, batch: Any, index: int
        ) -> None:
            self._seen += 1
            effort = task.effort
            since = self._seen - effort.warm_up
            if since < 0 or since % effort.steps_per_round:
                self.images += len(batch.image) if since > 0 else 0
                return
            if task.device.type == "cuda":
                torch.cuda.synchronize(task.device)
            self.last = time.perf_counter()
            if since == 0:
                self._mark = self.last
                return
            self.images += len(batch.image)
            self.steps, self.seconds = since, self.last - self._mark
            rounds = since // effort.steps_per_round
            is_long = self.seconds >= effort.seconds and rounds >= effort.least_rounds
            if is_long or rounds >= effort.most_rounds:
                trainer.should_stop = trainer.should_stop or task.entry not in SINGLE_PASS

    return Ticks()
