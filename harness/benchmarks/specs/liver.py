"""Liver CT: normal slices of BTCV for training, LiTS with tumour masks for validation and test."""

from harness.benchmarks.spec import BenchmarkSpec, KnownCounts, SplitCounts

SPEC = BenchmarkSpec(
    name="liver",
    title="Liver CT (BTCV and LiTS slices)",
    modality="CT, axial slices, liver only, histogram-equalised",
    folders=("liver", "hist_diy", "liver_ct", "btcv_lits", "btcv+lits"),
    has_masks=True,
    image_size=(512, 512),
    table1=(1542, 166, 1493),
    counts=(KnownCounts("sizes of the released folders", SplitCounts(1542, 93, 73, 833, 660)),),
    name_rules=(
        # 7_412: LiTS volume and slice; 0023_101: BTCV volume and slice. Four digits keep the
        # volumes of the two collections apart.
        r"(?P<volume>\d+)_\d+",
        # Names that BMAD's preparation code writes.
        r"(?P<volume>img_\d{4})_\d+_hist",
        r"(?P<volume>liver_\d+)_\d+",
    ),
    shared_images=("valid+test",),
    licence="BTCV and LiTS data terms; BMAD's arrangement: CC BY-NC-SA 4.0",
    citation=(
        "Landman et al., MICCAI Multi-Atlas Labeling Beyond the Cranial Vault, 2015; "
        "Bilic et al., The Liver Tumor Segmentation Benchmark (LiTS), Medical Image Analysis 84, 2023"
    ),
    source=(
        "https://www.synapse.org/#!Synapse:syn3193805 and "
        "https://www.kaggle.com/datasets/andrewmvd/liver-tumor-segmentation"
    ),
    access="registration (Synapse for BTCV; Kaggle or CodaLab for LiTS)",
    registration="a Synapse account and BTCV's data terms; a Kaggle or CodaLab account for LiTS",
    download="BTCV about 1.5 GB, LiTS about 20 GB of which volumes 0 to 10 are needed (not measured here)",
    geography="BTCV: Vanderbilt University Medical Center, USA; LiTS: seven hospitals and research institutions",
    may_show_images=False,
    show_evidence="no permission to republish is known for BTCV's or LiTS's images",
    known_leaks=(
        "Slices of one LiTS volume are in both valid and test; about 11 volumes in all",
        "Train and test come from two collections with different intensity windows",
    ),
    remarks=(
        "The paper names 50 BTCV scans; only 30 have labels",
        (
            "The paper states an abdominal window for both collections; the code applies it to LiTS "
            "alone"
        ),
        "Everything outside the liver is zero",
    ),
)
