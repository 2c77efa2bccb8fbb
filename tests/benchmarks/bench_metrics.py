"""Times the metrics against their peers on the same maps, and checks the values against each other.

    python tests/benchmarks/bench_metrics.py [--megapixels 20 | --full] [--only NAME …]

Every contender runs in a process of its own, with one thread, on maps that are in memory
before its clock starts. Seconds are of processor time: with one thread they are what the clock
shows on an idle machine, and another job beside it changes them less. Peak memory is what the
resident set grew by. Trap: torchmetrics and anomalib put scores outside 0..1 through a sigmoid,
so these maps stay inside.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the command is run as a script, from anywhere
SHAPE = (512, 1024)
FULL_MEGAPIXELS = 105
REPORT = ROOT / "build" / "bench-metrics.json"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")

Values = dict[str, float]


@dataclass(frozen=True)
class Data:
    """What a contender gets."""

    maps: np.ndarray
    """float32 [n, H, W] in 0..1; every image is anomalous."""
    masks: np.ndarray
    """bool [n, H, W], two in a hundred pixels set."""


def ours(dtype: str, *, intervals: bool = False) -> Callable[[Data], Callable[[], Values]]:
    """Our scorer on the native grid, the compiled truth at hand as it is in a run."""

    def prepare(data: Data) -> Callable[[], Values]:
        from harness.metrics import GroundTruth, RunScorer, TruthImage

        blank = np.ones(SHAPE, np.uint8)
        images = [
            TruthImage(f"{n:05}", True, f"{n:05}", None, lambda: blank, lambda n=n: data.masks[n])
            for n in range(len(data.maps))
        ]
        truth = GroundTruth.compile(images, has_masks=True)
        maps = data.maps.astype(dtype)

        def run() -> Values:
            with tempfile.TemporaryDirectory() as spool:
                scorer = RunScorer(
                    truth,
                    None,
                    spool=Path(spool),
                    maps=True,
                    intervals=intervals,
                    grids=("native",),
                )
                for key, anomaly_map in zip(truth.keys, maps, strict=True):
                    scorer.add("test", key, 0.0, anomaly_map)
                metrics = scorer.finish().metrics
            return {m.id: m.value for m in metrics if m.grid == "native" and m.value is not None}

        return run

    return prepare


def sklearn_auroc(data: Data) -> Callable[[], Values]:
    """scikit-learn's AUROC."""
    from sklearn.metrics import roc_auc_score

    labels, scores = data.masks.ravel(), data.maps.ravel()
    return lambda: {"pixel_auroc": float(roc_auc_score(labels, scores))}


def sklearn_ap(data: Data) -> Callable[[], Values]:
    """scikit-learn's average precision."""
    from sklearn.metrics import average_precision_score

    labels, scores = data.masks.ravel(), data.maps.ravel()
    return lambda: {"pixel_ap": float(average_precision_score(labels, scores))}


def sklearn_f1(data: Data) -> Callable[[], Values]:
    """Best F1 from scikit-learn's precision-recall curve."""
    from sklearn.metrics import precision_recall_curve

    def run() -> Values:
        precision, recall, _ = precision_recall_curve(data.masks.ravel(), data.maps.ravel())
        return {"dice_max": float(np.max(2 * precision * recall / (precision + recall + 1e-300)))}

    return run


def mvtec_aupro(data: Data) -> Callable[[], Values]:
    """AUPRO by MVTec AD's algorithm, written anew: sort all pixels, add up their shares."""
    from scipy import ndimage

    def run() -> Values:
        shares = np.zeros(data.masks.shape)
        regions = 0
        for mask, share in zip(data.masks, shares, strict=True):
            labels, count = ndimage.label(mask, np.ones((3, 3)))
            sizes = np.bincount(labels.ravel())
            share[mask] = 1.0 / sizes[labels[mask]]
            regions += count
        order = np.argsort(-data.maps, axis=None)
        scores = data.maps.ravel()[order]
        is_last = np.append(scores[1:] != scores[:-1], True)
        del scores
        overlap = np.cumsum(shares.ravel()[order])[is_last] / regions
        del shares
        normal = np.cumsum(~data.masks.ravel()[order])
        rate = normal[is_last] / normal[-1]
        inside = rate < 0.3
        x = np.concatenate([[0.0], rate[inside], [0.3]])
        y = np.concatenate([[0.0], overlap[inside], [np.interp(0.3, rate, overlap)]])
        return {"pixel_pro": float(np.trapezoid(y, x) / 0.3)}

    return run


def mvtec_3d_aupro(data: Data) -> Callable[[], Values]:
    """AUPRO of MVTec 3D-AD's script as adeval ships it: 100 thresholds."""
    from adeval.au_pro import calculate_au_pro

    masks = list(data.masks.astype(np.uint8))
    return lambda: {"pixel_pro": float(calculate_au_pro(masks, list(data.maps))[0])}


def adeval_all(data: Data) -> Callable[[], Values]:
    """adeval's AUROC, AUPR and AUPRO: 1,000 bins. Its np.trapz left numpy in 2.4."""
    import adeval

    np.trapz = np.trapezoid  # noqa: NPY201 - what adeval calls
    masks = list(data.masks.astype(np.uint8))

    def run() -> Values:
        auroc, aupr, aupro = adeval.auroc_aupr_aupro(list(data.maps), masks)
        return {"pixel_auroc": float(auroc), "pixel_ap": float(aupr), "pixel_pro": float(aupro)}

    return run


def torchmetrics_auroc(data: Data) -> Callable[[], Values]:
    """torchmetrics' exact AUROC."""
    import torch
    from torchmetrics.functional.classification import binary_auroc

    labels = torch.from_numpy(data.masks.ravel().astype(np.int64))
    scores = torch.from_numpy(data.maps.ravel())
    return lambda: {"pixel_auroc": float(binary_auroc(scores, labels, validate_args=False))}


def anomalib_metric(name: str, metric: str) -> Callable[[Data], Callable[[], Values]]:
    """A metric of anomalib."""

    def prepare(data: Data) -> Callable[[], Values]:
        import torch
        from anomalib import metrics

        masks = torch.from_numpy(data.masks.astype(np.int64))
        maps = torch.from_numpy(data.maps)

        def run() -> Values:
            # The class without a batch's field names is the second base.
            measure = getattr(metrics, name).__mro__[2]()
            measure.update(maps, masks) if name == "AUPRO" else measure.update(
                maps.flatten(), masks.flatten()
            )
            return {metric: float(measure.compute())}

        return run

    return prepare


CONTENDERS: Mapping[str, Callable[[Data], Callable[[], Values]]] = {
    "ours, float16": ours("float16"),
    "ours, float32": ours("float32"),
    "ours, float16, with intervals": ours("float16", intervals=True),
    "ours, float32, with intervals": ours("float32", intervals=True),
    "adeval (1,000 bins)": adeval_all,
    "MVTec 3D-AD script (100 thresholds)": mvtec_3d_aupro,
    "MVTec AD algorithm": mvtec_aupro,
    "scikit-learn AUROC": sklearn_auroc,
    "scikit-learn AP": sklearn_ap,
    "scikit-learn PR curve": sklearn_f1,
    "torchmetrics AUROC": torchmetrics_auroc,
    "anomalib AUROC": anomalib_metric("AUROC", "pixel_auroc"),
    "anomalib F1Max": anomalib_metric("F1Max", "dice_max"),
    "anomalib AUPRO": anomalib_metric("AUPRO", "pixel_pro"),
}
ALL_TOGETHER = (
    "scikit-learn AUROC",
    "scikit-learn AP",
    "scikit-learn PR curve",
    "MVTec AD algorithm",
)


def make_data(folder: Path, images: int) -> None:
    """Smooth maps and blobs in two of a hundred pixels, the same every time."""
    from scipy.ndimage import zoom

    maps = np.lib.format.open_memmap(folder / "maps.npy", "w+", np.float32, (images, *SHAPE))
    masks = np.lib.format.open_memmap(folder / "masks.npy", "w+", np.bool_, (images, *SHAPE))
    coarse = (SHAPE[0] // 16 + 1, SHAPE[1] // 16 + 1)
    for image in range(images):
        rng = np.random.default_rng(image)
        texture, blobs = (
            zoom(rng.normal(size=coarse), 17, order=1)[: SHAPE[0], : SHAPE[1]] for _ in range(2)
        )
        masks[image] = blobs > np.quantile(blobs[::4, ::4], 0.98)
        scores = texture + 0.1 * rng.normal(size=SHAPE) + np.maximum(0, blobs - 1)
        maps[image] = 1 / (1 + np.exp(-(scores - 2)))


def resident_bytes(field: str) -> int:
    """VmRSS or VmHWM of this process."""
    status = Path("/proc/self/status").read_text()
    found = re.search(rf"{field}:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


def contend(name: str, folder: Path) -> dict[str, Any]:
    """Run one contender here: once on four images to compile and import, then for the clock."""
    maps, masks = np.load(folder / "maps.npy", mmap_mode="r"), np.load(folder / "masks.npy")
    CONTENDERS[name](Data(np.array(maps[:4]), masks[:4]))()
    run = CONTENDERS[name](Data(np.array(maps), masks))
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = resident_bytes("VmRSS")
    start, processor_start = time.perf_counter(), time.process_time()
    values = run()
    wall_seconds, seconds = time.perf_counter() - start, time.process_time() - processor_start
    return {
        "seconds": seconds,
        "wall_seconds": wall_seconds,
        "peak_bytes": max(0, resident_bytes("VmHWM") - before),
        "values": values,
    }


def contend_apart(name: str, folder: Path, timeout_seconds: float) -> dict[str, Any]:
    """Run one contender in a process of its own, with one thread."""
    from tests.benchmarks.apart import run_apart

    command = [sys.executable, __file__, "--contender", name, "--data", str(folder)]
    environment = {**os.environ, **dict.fromkeys(THREADS, "1"), "PYTHONPATH": str(ROOT)}
    return run_apart(command, environment, timeout_seconds)


def table(results: Mapping[str, dict[str, Any]], pixels: int) -> str:
    """The results as Markdown; errors are against our float32, which sees what the peers see."""
    exact = results.get("ours, float32", {}).get("values", {})
    fast = results.get("ours, float16", {}).get("seconds")
    slow = results.get("ours, float32", {}).get("seconds")
    lines = [
        "| contender | computes | s / 100 Mpx | peak B/px | largest error | x ours f16 | x ours f32 |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, result in results.items():
        if "failed" in result:
            lines.append(f"| {name} | failed: {result['failed']} | | | | | |")
            continue
        values, seconds = result["values"], result["seconds"]
        shared = [abs(values[key] - exact[key]) for key in values if key in exact]
        ratios = [f"{seconds / base:.3g}" if base else "" for base in (fast, slow)]
        computes = "every metric" if len(values) > 3 else ", ".join(values)
        lines.append(
            f"| {name} | {computes} | {seconds * 1e8 / pixels:.3g} | "
            f"{result['peak_bytes'] / pixels:.2f} | {max(shared, default=0):.1e} | "
            f"{ratios[0]} | {ratios[1]} |"
        )
    if all(name in results and "seconds" in results[name] for name in ALL_TOGETHER):
        together = sum(results[name]["seconds"] for name in ALL_TOGETHER)
        ratios = [f"{together / base:.0f}" if base else "" for base in (fast, slow)]
        lines.append(
            f"| scikit-learn + MVTec AD, all four | | {together * 1e8 / pixels:.3g} | | | "
            f"{ratios[0]} | {ratios[1]} |"
        )
    return "\n".join(lines)


def image_interval_seconds() -> float:
    """All image metrics of 2,000 resamples of RSNA's 17,194 test images."""
    from harness.metrics.evidence import ScoreEvidence
    from harness.metrics.intervals import resample_counts, sweep_images

    rng = np.random.default_rng(0)
    labels = rng.random(17194) < 0.95
    keys = tuple(map(str, range(labels.size)))
    scores = rng.normal(size=labels.size) + labels
    split = ScoreEvidence(keys, keys, (None,) * labels.size, labels, scores)
    sweep_images(split, resample_counts(labels.size, resamples=64))
    start = time.perf_counter()
    sweep_images(split, resample_counts(labels.size))
    return time.perf_counter() - start


def machine() -> dict[str, Any]:
    """What it ran on."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    packages = ("numpy", "numba", "scikit-learn", "torch", "torchmetrics", "anomalib", "adeval")
    return {
        "cpu": cpu[1] if cpu else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
    }


def main() -> int:
    """Print the table and write the report; exit code 1 when an exact peer disagrees."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megapixels", type=float, default=20)
    parser.add_argument("--full", action="store_true", help=f"{FULL_MEGAPIXELS} megapixels")
    parser.add_argument("--only", nargs="+", default=list(CONTENDERS), metavar="NAME")
    parser.add_argument("--timeout-seconds", type=float, default=900)
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        print(json.dumps(contend(options.contender, options.data)))
        return 0
    megapixels = FULL_MEGAPIXELS if options.full else options.megapixels
    images = max(4, round(megapixels * 1e6 / (SHAPE[0] * SHAPE[1])))
    pixels = images * SHAPE[0] * SHAPE[1]
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        make_data(Path(folder), images)
        for name in options.only:
            print(f"{name} …", file=sys.stderr, flush=True)
            results[name] = contend_apart(name, Path(folder), options.timeout_seconds)
    report = {"pixels": pixels, "machine": machine(), "results": results}
    report["image_interval_seconds"] = image_interval_seconds()
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=1))
    print(f"{images} maps of {SHAPE[0]}x{SHAPE[1]}, one thread; {report['machine']['cpu']}\n")
    print(table(results, pixels))
    seconds = report["image_interval_seconds"]
    print(f"\nImage metrics, 17,194 images, 2,000 resamples (all threads): {seconds:.2f} s")
    return 0 if agrees(results) else 1


def agrees(results: Mapping[str, dict[str, Any]]) -> bool:
    """Whether scikit-learn (to 1e-12) and MVTec's algorithm (to 1e-9) see our float32 values."""
    exact = results.get("ours, float32", {}).get("values", {})
    limits = {name: 1e-12 for name in results if name.startswith("scikit-learn")}
    limits["MVTec AD algorithm"] = 1e-9
    return all(
        abs(number - exact[metric]) <= limit
        for name, limit in limits.items()
        for metric, number in results.get(name, {}).get("values", {}).items()
        if metric in exact
    )


if __name__ == "__main__":
    sys.exit(main())
