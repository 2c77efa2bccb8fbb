"""Small downloads in the true formats of all six sources, written by the tests themselves.

Real shapes where a recipe checks them, mostly zeros so that they stay small; ids and case names
are those of the lists, because the recipes look for them. Everything is deterministic.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pydicom
import tifffile
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit

from harness.benchmarks.prepare import splits

Array = npt.NDArray[np.generic]

# --- brain -------------------------------------------------------------------------------------

BRAIN_SHAPE = (240, 240, 155)
BRATS_AFFINE = np.array([[-1, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]], float)
TRAIN_IDS = splits.names("brain_train_ids")[:3]
VALID_NORMAL_IDS = splits.names("brain_valid_normal_ids")[:2]
VALID_ABNORMAL_IDS = splits.names("brain_valid_abnormal_ids")[:2]
TEST_NORMAL_IDS = splits.names("brain_test_normal_ids")[:3]
UNLISTED_IDS = ("00002", "00006", "00009")  # abnormal test cases: they stand in no list


def random(seed: int | str) -> np.random.Generator:
    """A generator that is the same under every numpy version in use."""
    digest = hashlib.sha256(str(seed).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:8], "big")))


def brats_case(
    folder: Path,
    number: str,
    tumour: Iterable[int],
    *,
    modalities: Sequence[str] = ("flair",),
    affine: npt.NDArray[np.float64] = BRATS_AFFINE,
    labels: Sequence[int] = (1, 2, 4),
) -> Path:
    """One case with a head, a bright marker in its first corner, and tumour in these slices."""
    place = folder / f"BraTS2021_{number}"
    place.mkdir(parents=True, exist_ok=True)
    volume = np.zeros(BRAIN_SHAPE, np.int16)
    x, y = np.mgrid[-1:1:240j, -1:1:240j]
    head = (x / 0.6) ** 2 + (y / 0.75) ** 2 < 1
    noise = random(f"brain{number}").integers(300, 900, (24, 24))
    tissue = np.kron(noise, np.ones((10, 10), np.int64)).astype(np.int16)
    for z in range(56, 104):
        volume[:, :, z] = head * (tissue + 3 * z)
        volume[0:5, 0:9, z] = 1000 + z
    seg = np.zeros(BRAIN_SHAPE, np.uint8)
    for z in tumour:
        for step, label in enumerate(labels):
            seg[100 + 8 * step : 106 + 8 * step, 110:130, z] = label
    for modality in modalities:
        scale = 1 + ("flair", "t1", "t1ce", "t2").index(modality)
        image = volume.copy()
        image[100:130, 110:130] = np.where(seg[100:130, 110:130] > 0, 1500, image[100:130, 110:130])
        save_nifti(place / f"BraTS2021_{number}_{modality}.nii.gz", image * scale, affine)
    save_nifti(place / f"BraTS2021_{number}_seg.nii.gz", seg, affine)
    return place


def save_nifti(path: Path, values: Array, affine: npt.NDArray[np.float64]) -> Path:
    """Write a volume; gzip at its fastest level."""
    image = nib.Nifti1Image(values, affine)
    if path.name.endswith(".gz"):
        import gzip

        with gzip.GzipFile(path, "wb", compresslevel=1, mtime=0) as stream:
            stream.write(image.to_bytes())
    else:
        nib.save(image, path)
    return path


def brats(folder: Path) -> Path:
    """13 cases of all five kinds."""
    for position, number in enumerate(TRAIN_IDS):
        brats_case(folder, number, range(64 + position, 104))
    for number in VALID_NORMAL_IDS:
        brats_case(folder, number, set(range(56, 104)) - {60})
    for number in TEST_NORMAL_IDS:
        brats_case(folder, number, range(63, 104))
    for number in (*VALID_ABNORMAL_IDS, *UNLISTED_IDS):
        brats_case(folder, number, range(56, 104))
    return folder


# --- liver -------------------------------------------------------------------------------------

CT_SIDE = 512
CT_AFFINE = np.diag([0.7, 0.7, 5, 1.0])
AIR, BODY, LIVER_HU, LESION_HU, BONE = -1000, 40, 110, 60, 1200


def ct(
    path: Path,
    label_path: Path,
    seed: int,
    *,
    liver: int,
    lesion: Mapping[int, int],
    slices: int = 6,
) -> None:
    """A body with liver in all slices but the first, and lesions of these sides in these slices."""
    values = np.full((CT_SIDE, CT_SIDE, slices), AIR, np.int16)
    labels = np.zeros(values.shape, np.uint8)
    values[100:400, 80:440] = BODY
    values[200:220, 200:220] = BONE
    labels[300:330, 300:330] = 1 if liver != 1 else 0  # another organ, where there are several
    for z in range(1, slices):
        values[120:190, 120:260, z] = LIVER_HU
        values[120:190, 120:260, z] += (
            random(seed + z).integers(-20, 20, (70, 140)).astype(np.int16)
        )
        labels[120:190, 120:260, z] = liver
        if side := lesion.get(z, 0):
            values[130 : 130 + side, 150 : 150 + side, z] = LESION_HU
            labels[130 : 130 + side, 150 : 150 + side, z] = 2
    for target, array in ((path, values), (label_path, labels)):
        target.parent.mkdir(parents=True, exist_ok=True)
        save_nifti(target, array, CT_AFFINE)


def btcv(folder: Path, numbers: Iterable[int] = (1, 2)) -> Path:
    """Synapse's layout."""
    for number in numbers:
        ct(
            folder / f"RawData/Training/img/img{number:04d}.nii.gz",
            folder / f"RawData/Training/label/label{number:04d}.nii.gz",
            100 * number, liver=6, lesion={},
        )  # fmt: skip
    (folder / "RawData/Testing/img").mkdir(parents=True)
    (folder / "RawData/Testing/img/img0061.nii.gz").write_bytes(b"never read")
    return folder


def lits(folder: Path, numbers: Iterable[int] = (0, 1, 2), *, kaggle: bool = True) -> Path:
    """Kaggle's layout, or CodaLab's."""
    for number in numbers:
        if kaggle:
            image, label = folder / f"volume_pt{1 + number // 11}", folder / "segmentations"
        else:
            image = label = folder / f"Training Batch {1 + number // 28}"
        ct(
            image / f"volume-{number}.nii", label / f"segmentation-{number}.nii",
            5000 + 100 * number, liver=1, lesion={2: 20 + number, 3: 12},
        )  # fmt: skip
    return folder


# --- RESC --------------------------------------------------------------------------------------

RESC_TRAIN = splits.names("resc_train_cases")[:3]  # two volumes of one patient, one of another
RESC_SLICES = 4


def resc_valid() -> tuple[str, ...]:
    """Two volumes of one patient, two patients of one volume."""
    names = splits.names("resc_val_cases")
    patients = [name.partition("_")[0] for name in names]
    twice = [n for n, p in zip(names, patients, strict=True) if patients.count(p) == 2][:2]
    once = [n for n, p in zip(names, patients, strict=True) if patients.count(p) == 1][:2]
    return (*twice, *once)


def resc_pair(case: str, number: int) -> tuple[Array, Array]:
    """One slice [1024, 512] and its label; odd slices are normal."""
    image = np.zeros((1024, 512), np.uint8)
    layers = random(f"{case[:5]}{number}").integers(40, 200, (8, 16), dtype=np.uint8)
    image[400:720] = np.kron(layers, np.ones((40, 32), np.uint8))
    image[number] = 200 + number  # no two slices are equal
    image[0, : len(case)] = np.frombuffer(case.encode(), np.uint8)
    label = np.zeros((1024, 512), np.uint8)
    if number % 2 == 0:
        label[500:520, 100:140] = 128
        label[540:560, 200:240] = 191
        label[580:600, 300:340] = 255
    return image, label


def challenge(folder: Path, *, slices: int = RESC_SLICES) -> Path:
    """AI-Challenger's layout, its unlabelled test set too."""
    sets = {
        "training": RESC_TRAIN,
        "validation": resc_valid(),
        "test": splits.names("resc_challenge_test_cases")[:1],
    }
    for part, cases in sets.items():
        for case in cases:
            place = folder / f"Edema_{part}set"
            for number in range(1, slices + 1):
                image, label = resc_pair(case, number)
                save(place / "original_images" / f"{case}.img" / f"{number}.bmp", image)
                if part != "test":
                    save(place / "label_images" / f"{case}_labelMark" / f"{number}.bmp", label)
    return folder


def p_net(folder: Path, *, slices: int = RESC_SLICES) -> Path:
    """The layout of P-Net's authors: normal images apart, PNG, masks of layers to be ignored."""
    for case in RESC_TRAIN:
        for number in range(1, slices + 1, 2):
            image, _ = resc_pair(case, number)
            save(folder / "train/images" / case / f"{number}.png", image)
            save(folder / "train/layer_mask_crf" / case / f"{number}.png", image)
    for case in resc_valid():
        for number in range(1, slices + 1):
            image, label = resc_pair(case, number)
            kind = "images" if label.any() else "normal_images"
            save(folder / "test" / kind / case / f"{number}.png", image)
            if label.any():
                save(folder / "test/lesion_mask" / case / f"{number}.png", label)
    return folder


# --- OCT2017 -----------------------------------------------------------------------------------

OCT_WIDTHS = (512, 768, 1024, 1536)


def oct_image(seed: int, width: int = 512) -> Array:
    """A B-scan-like image [496, width]."""
    layers = random(seed).integers(20, 220, (31, 16), dtype=np.uint8)
    return np.kron(layers, np.ones((16, width // 16), np.uint8))


def kaggle_oct(folder: Path, *, test_per_class: int = 6, train: int = 14) -> Path:
    """Kaggle's folders, with the blank in the name; patient 100 is in train and in test."""
    root = folder / "OCT2017 "
    plan = _oct_plan(test_per_class, train)
    for seed, (part, name, patient, count) in enumerate(plan):
        path = root / part / name / f"{name}-{patient}-{count}.jpeg"
        save(path, oct_image(seed, OCT_WIDTHS[seed % 4]), quality=92)
    (root / "train" / ".DS_Store").write_bytes(b"litter")
    return folder


def _oct_plan(test_per_class: int, train: int) -> list[tuple[str, str, int, int]]:
    plan = [("train", "NORMAL", 100 + number // 2, number % 2 + 1) for number in range(train)]
    plan += [("train", "CNV", 900 + number, 1) for number in range(3)]
    for offset, name in enumerate(("NORMAL", "CNV", "DME", "DRUSEN")):
        plan += [("val", name, 300 + 10 * offset + number, 1) for number in range(2)]
        plan += [
            ("test", name, 100 if not offset and not number else 500 + 50 * offset + number, 3)
            for number in range(test_per_class)
        ]
    return plan


def mendeley_oct(folder: Path, *, test_per_class: int = 12) -> Path:
    """Mendeley's folders: no val, the known validation images among the test images."""
    root = folder / "OCT2017"
    seed = 1000
    for number in range(6):
        save(root / f"train/NORMAL/NORMAL-{100 + number}-1.jpeg", oct_image(seed + number))
    known = splits.names("oct2017_valid_known")
    for offset, name in enumerate(("NORMAL", "CNV", "DME", "DRUSEN")):
        names = [stem for stem in known if stem.startswith(name)]
        names += [f"{name}-{700 + 30 * offset + number}-1.jpeg" for number in range(test_per_class)]
        for number, file in enumerate(names):
            save(root / "test" / name / file, oct_image(seed + 100 * (offset + 1) + number))
    return folder


# --- RSNA --------------------------------------------------------------------------------------

RSNA_CLASSES = ("Normal", "Lung Opacity", "No Lung Opacity / Not Normal")


@dataclass(frozen=True)
class Chest:
    """One image of the class table."""

    identifier: str
    kind: str
    patient: str


def chests(normal: int = 12, opacity: int = 4, other: int = 6) -> list[Chest]:
    """Images of all classes; every second patient has two."""
    kinds = [
        kind
        for kind, n in zip(RSNA_CLASSES, (normal, opacity, other), strict=True)
        for _ in range(n)
    ]
    return [
        Chest(
            f"{number:08x}-aaaa-bbbb-cccc-{number * 7919:012x}",
            kind,
            f"{number - number % 3 // 2:08d}",
        )
        for number, kind in enumerate(kinds)
    ]


def chest_pixels(seed: int, side: int = 1024) -> Array:
    """A smooth picture [side, side]."""
    coarse = random(seed).integers(0, 256, (8, 8), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))


def dicom(
    path: Path, pixels: Array, *, compressed: bool = True, photometric: str = "MONOCHROME2"
) -> Path:
    """A secondary capture as RSNA's: JPEG Baseline inside, or uncompressed."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    data.file_meta.MediaStorageSOPInstanceUID = (
        f"1.2.3.{int.from_bytes(path.stem.encode()[:8], 'big')}"
    )
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID
    data.Modality, data.PatientID, data.PatientAge = "CR", path.stem, "051Y"
    data.ViewPosition = "PA"
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, photometric
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    if compressed:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
        data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        data.PixelData = encapsulate([buffer.getvalue()])
        data["PixelData"].is_undefined_length = True
        data.LossyImageCompression, data.LossyImageCompressionMethod = "01", "ISO_10918_1"
    else:
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.PixelData = pixels.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    return path


def rsna(folder: Path, images: Sequence[Chest] | None = None, *, mapping: bool = True) -> Path:
    """Kaggle's stage 2, with tables that repeat rows, and RSNA's mapping to NIH."""
    images = chests() if images is None else images
    rows, boxes = ["patientId,class"], ["patientId,x,y,width,height,Target"]
    for number, image in enumerate(images):
        dicom(
            folder / "stage_2_train_images" / f"{image.identifier}.dcm",
            chest_pixels(number),
            compressed=number % 11 != 5,
            photometric="MONOCHROME1" if number % 13 == 7 else "MONOCHROME2",
        )
        is_opacity = image.kind == "Lung Opacity"
        rows += [f"{image.identifier},{image.kind}"] * (2 if is_opacity else 1)
        box = "10,10,50,50,1" if is_opacity else ",,,,0"
        boxes += [f"{image.identifier},{box}"] * (2 if is_opacity else 1)
    (folder / "stage_2_detailed_class_info.csv").write_text("\n".join(rows) + "\n")
    (folder / "stage_2_train_labels.csv").write_text("\n".join(boxes) + "\n")
    if mapping:
        entries = [
            {"subset_img_id": image.identifier, "img_id": f"{image.patient}_{number:03d}.png"}
            for number, image in enumerate(images)
        ]
        path = folder / "pneumonia-challenge-dataset-mappings_2018.json"
        path.write_text(json.dumps(entries))
    return folder


# --- Camelyon16 --------------------------------------------------------------------------------

SLIDE_SIDE = 1536


def slide_pixels(seed: int) -> Array:
    """Stained-looking noise [side, side, 3]."""
    coarse = random(seed).integers(90, 240, (48, 48, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((32, 32, 1), np.uint8))


def slide(path: Path, seed: int) -> Path:
    """A pyramidal tiled BigTIFF with JPEG tiles and three levels."""
    pixels = slide_pixels(seed)
    options = {"tile": (512, 512), "photometric": "ycbcr", "compression": "jpeg"}
    path.parent.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        writer.write(pixels, subifds=0, **options)
        for level in (2, 4):
            writer.write(pixels[::level, ::level], subfiletype=1, **options)
    return path


def slide_lists() -> dict[str, tuple[splits.Patch, ...]]:
    """Short lists in place of BMAD's, whose coordinates lie far outside any small slide."""

    def rows(names: Sequence[str], centres: Sequence[tuple[int, int]]) -> tuple[splits.Patch, ...]:
        pairs = [(name, x, y) for name in names for x, y in centres]
        return tuple(splits.Patch(name, row, x, y) for row, (name, x, y) in enumerate(pairs))

    train = [f"normal_{number:03d}" for number in range(1, 11)]
    valid, test = ["test_113", "test_114"], [f"test_{number:03d}" for number in (1, 2, 3, 4)]
    normal = [(200, 200), (600, 200), (200, 600)]
    return {
        "camelyon16_train_good": rows(train, [*normal, (600, 600)]),
        "camelyon16_valid_good": rows(valid, normal[:1]),
        "camelyon16_valid_ungood": rows(valid[:1], [(1000, 1000)]),
        # The last centre lies at the border: what is outside comes with alpha 0.
        "camelyon16_test_good": rows(test, [*normal, (SLIDE_SIDE - 64, 64)]),
        "camelyon16_test_ungood": rows(test[:3], [(1000, 1000), (1000, 600)]),
    }


def camelyon(folder: Path) -> Path:
    """The slides of `slide_lists`, in the challenge's folders."""
    names = {patch.slide for patches in slide_lists().values() for patch in patches}
    for seed, name in enumerate(sorted(names)):
        part = "training/normal" if name[0] == "n" else "testing/images"
        slide(folder / part / f"{name}.tif", 7000 + seed)
    return folder


def outlines(path: Path, polygons: Sequence[tuple[str, Sequence[tuple[float, float]]]]) -> Path:
    """ASAP's XML: groups and corners."""
    parts = []
    for group, corners in polygons:
        points = "".join(
            f'<Coordinate Order="{order}" X="{x}" Y="{y}" />'
            for order, (x, y) in enumerate(corners)
        )
        parts.append(
            f'<Annotation Name="a" Type="Polygon" PartOfGroup="{group}">'
            f"<Coordinates>{points}</Coordinates></Annotation>"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "<?xml version='1.0'?><ASAP_Annotations><Annotations>"
        + "".join(parts)
        + "</Annotations></ASAP_Annotations>"
    )
    return path


def save(path: Path, pixels: Array, **options: object) -> Path:
    """Write one array by Pillow, in the format of its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path
