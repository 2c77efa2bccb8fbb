"""Chest X-ray, image level: RSNA Pneumonia Detection Challenge 2018."""

from harness.benchmarks.spec import BenchmarkSpec, KnownCounts, SplitCounts

SPEC = BenchmarkSpec(
    name="rsna",
    title="Chest X-ray (RSNA pneumonia)",
    modality="X-ray, frontal chest radiographs",
    folders=("rsna", "chest_rsna", "chest", "rsna_chest", "chest_xray"),
    has_masks=False,
    image_size=(1024, 1024),
    table1=(8000, 1490, 17194),
    counts=(
        KnownCounts("sizes of the released folders", SplitCounts(8000, 70, 1420, 781, 16413)),
        KnownCounts(
            "the 1:1 validation of the paper's text", SplitCounts(8000, 745, 745, 106, 17088)
        ),
    ),
    name_rules=(
        # The id is an image's, not a patient's: patients stay unknown.
        r"(?P<subclass>Lung_Opacity|No-Not-Normal)[_-].+",
    ),
    subclasses=("Lung_Opacity", "No-Not-Normal"),
    licence="RSNA challenge terms (attribution required); images from NIH ChestX-ray14",
    citation=(
        "Shih et al., Augmenting the National Institutes of Health Chest Radiograph Dataset with "
        "Expert Annotations of Possible Pneumonia, Radiology: AI 1(1), 2019; "
        "Wang et al., ChestX-ray8, CVPR 2017"
    ),
    source="https://www.kaggle.com/competitions/rsna-pneumonia-detection-challenge",
    access="Kaggle account and acceptance of the competition's rules",
    registration="a Kaggle account and acceptance of the competition's rules",
    download="about 4 GB (not measured here)",
    geography="NIH Clinical Center, USA",
    may_show_images=False,
    show_evidence="RSNA is open to download; its terms are not a clear leave to republish",
    known_leaks=(
        (
            "Several images of one patient exist, and the file names do not say whose: one patient may "
            "be in train and in test"
        ),
        "Names of the released files start with the class",
    ),
    remarks=(
        "95.5 % of the test images are abnormal: image AUROC rests on 781 normal ones",
        "Abnormal = lung opacity, or neither opacity nor normal",
        "Section 3.1 of the paper describes another data set (ChestX-ray8); its appendix is right",
    ),
)
