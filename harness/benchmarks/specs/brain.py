"""Brain MRI: BraTS2021 FLAIR slices, with masks of the whole tumour."""

from harness.benchmarks.spec import BenchmarkSpec, KnownCounts, SplitCounts

SPEC = BenchmarkSpec(
    name="brain",
    title="Brain MRI (BraTS2021 FLAIR slices)",
    modality="MRI, FLAIR, axial slices, skull-stripped",
    folders=("brain", "brats2021", "brats2021_slice", "brats", "bras2021", "brain_mri"),
    has_masks=True,
    image_size=(240, 240),
    table1=(7500, 83, 3715),
    counts=(KnownCounts("BMAD's preparation code", SplitCounts(7500, 39, 44, 640, 3075)),),
    name_rules=(
        # 00124_60: BraTS case and slice, as BMAD releases them.
        r"(?:BraTS2021_)?(?P<patient>\d{5})_\d{1,3}",
        # TCGA_CS_4943_20000902_12: patient, date of the scan, slice (TCGA-LGG stand-in).
        r"(?P<patient>TCGA_[A-Z0-9]{2}_[A-Z0-9]{4})_\d{8}_\d+",
    ),
    shared_images=("valid+test",),
    licence="BraTS data terms; BMAD's arrangement: CC BY-NC-SA 4.0",
    citation=(
        "Baid et al., The RSNA-ASNR-MICCAI BraTS 2021 Benchmark, arXiv:2107.02314, 2021; "
        "Menze et al., IEEE TMI 34(10), 2015; Bakas et al., Scientific Data 4:170117, 2017"
    ),
    source="http://braintumorsegmentation.org/",
    access="registration (Synapse, or Kaggle's copy of Task 1); 1,251 labelled cases",
    registration="an account (Synapse, or Kaggle for its copy of Task 1) and BraTS's data terms",
    download="about 13 GB (not measured here)",
    geography="many institutions of the BraTS consortium; the cases do not say which",
    may_show_images=False,
    show_evidence="BraTS is open to download on registration; that is no leave to republish",
    known_leaks=(
        (
            "10 of the 11 abnormal validation patients of the release are reported to be in its test "
            "split too, and 10 images (slice 60) to be byte-identical in both"
        ),
        (
            "Slice depth tells the label: abnormal test slices lie at z = 60, 68, 76, 84, 92 only, "
            "normal ones mostly at the ends of the range"
        ),
    ),
    remarks=(
        "Normal slices are tumour-free slices of tumour patients",
        "Each slice is scaled to its own maximum, so a bright lesion darkens the tissue around it",
        "The released images are RGBA through a bone colour map; alpha is dropped here",
        "The paper says that normal and abnormal test images are 1 : 1; the counts give 1 : 4.8",
    ),
)
