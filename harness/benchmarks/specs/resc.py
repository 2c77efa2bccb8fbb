"""Retinal OCT with masks: RESC (macular oedema, AI-Challenger 2018)."""

from harness.benchmarks.spec import BenchmarkSpec, KnownCounts, SplitCounts

SPEC = BenchmarkSpec(
    name="resc",
    title="Retinal OCT (RESC, macular oedema)",
    modality="OCT, macular B-scans",
    folders=("resc", "retina_resc", "retinaresc"),
    has_masks=True,
    image_size=(1024, 512),
    table1=(4297, 115, 1805),
    counts=(
        KnownCounts("BMAD's code and the released folders", SplitCounts(4297, 45, 70, 1041, 764)),
    ),
    name_rules=(
        # P0067_MacularCube512x128_…: the prefix is the patient; up to three volumes have one.
        r"(?P<patient>P[A-Z]?\d+)_MacularCube.*",
        # 7_64: index of the volume and slice, as BMAD releases them; which volumes belong to
        # one patient is not recoverable from it.
        r"(?P<volume>\d+)_\d+",
    ),
    licence="AI-Challenger 2018 terms; BMAD's arrangement: CC BY-NC-SA 4.0",
    citation=(
        "Hu et al., Automated segmentation of macular edema in OCT using deep neural networks, "
        "Medical Image Analysis 55, 2019; Zhou et al., P-Net, ECCV 2020"
    ),
    source="https://github.com/CharlesKangZhou/P_Net_Anomaly_Detection",
    access="AI-Challenger registration, or the copy that P-Net's authors link",
    registration="AI-Challenger 2018, or the copy that P-Net's authors link",
    download="about 12 GB unpacked (volumes of 128 images and labels of 0.5 MB each)",
    geography="not stated by its source",
    may_show_images=False,
    show_evidence="RESC is open to download; no permission to republish is known",
    known_leaks=(
        (
            "Slices of all 15 labelled volumes (10 patients) are in both valid and test, although the "
            "paper promises otherwise"
        ),
    ),
    remarks=("About 10 patients: intervals over patients are wide",),
)
