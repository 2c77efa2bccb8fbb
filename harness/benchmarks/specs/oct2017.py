"""Retinal OCT, image level: OCT2017 (Kermany et al.)."""

from harness.benchmarks.spec import BenchmarkSpec, KnownCounts, SplitCounts

SPEC = BenchmarkSpec(
    name="oct2017",
    title="Retinal OCT (OCT2017: CNV, DME, drusen)",
    modality="OCT, B-scans",
    folders=("oct2017", "retina_oct2017", "retina_oct", "oct", "retinaoct2017", "retinaoct"),
    has_masks=False,
    # Nominal 496x512; widths of 384 to 1536 occur.
    image_size=None,
    table1=(26315, 32, 968),
    counts=(KnownCounts("the folders of Kaggle's copy", SplitCounts(26315, 8, 24, 242, 726)),),
    name_rules=(r"(?P<subclass>CNV|DME|DRUSEN|NORMAL)-(?P<patient>\d+)-\d+",),
    subclasses=("CNV", "DME", "DRUSEN"),
    shared_images=("train+test", "train+valid", "valid+test"),
    licence="CC BY 4.0",
    citation=(
        "Kermany et al., Identifying Medical Diagnoses and Treatable Diseases by Image-Based Deep "
        "Learning, Cell 172(5), 2018; data: Mendeley Data, doi:10.17632/rscbjbr9sj"
    ),
    source="https://www.kaggle.com/datasets/paultimothymooney/kermany2018",
    access="Kaggle account, or Mendeley Data without registration",
    registration="a Kaggle account; none at Mendeley Data",
    download="about 11 GB at Kaggle, 6 GB at Mendeley (not measured here)",
    geography="eye clinics in California, Shanghai and Beijing",
    may_show_images=True,
    show_evidence="CC BY 4.0 (Mendeley Data rscbjbr9sj) allows it with attribution",
    known_leaks=(
        "Patients, and some identical images, are known to be shared between train and test",
        "Image sizes differ and may tell the class: compare with the image-size baseline",
    ),
    remarks=("The validation split has 8 normal and 24 abnormal images only",),
)
