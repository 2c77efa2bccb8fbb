"""Histopathology, image level: patches of Camelyon16's lymph node slides."""

from harness.benchmarks.spec import BenchmarkSpec, KnownCounts, SplitCounts

SPEC = BenchmarkSpec(
    name="camelyon16",
    title="Histopathology (Camelyon16 patches)",
    modality="H&E whole-slide images, 256x256 patches at full resolution",
    folders=("camelyon16", "camelyon16_256", "camelyon", "histopathology"),
    has_masks=False,
    image_size=(256, 256),
    table1=(5088, 236, 1997),
    counts=(
        KnownCounts("BMAD's coordinate files", SplitCounts(5088, 117, 105, 1026, 1008)),
        KnownCounts("the paper's text", SplitCounts(5088, 100, 100, 1000, 1000)),
    ),
    name_rules=(
        # tumor_064_18070_119351: slide and position. Released names (1080) are bare row numbers
        # of an unknown list, so their slides stay unknown.
        r"(?P<slide>(?:tumor|normal|test)_\d{3})_\d+_\d+",
    ),
    licence="CC0 1.0",
    citation="Ehteshami Bejnordi et al., JAMA 318(22), 2017",
    source="https://camelyon17.grand-challenge.org/Data/",
    access="no registration (public bucket or mirrors); about 700 GB of slides",
    registration="none (a public bucket, GigaScience and mirrors)",
    download="700 to 900 GB for all 399 slides; 286 are needed",
    geography="Radboud UMC and UMC Utrecht, the Netherlands",
    may_show_images=True,
    show_evidence="Camelyon16 is dedicated to the public domain (CC0 1.0)",
    known_leaks=(
        "Abnormal test patches come from 43 of the 114 test slides, so stain may tell the label",
    ),
    remarks=(
        "Table 1, the paper's text and BMAD's coordinate files give three different totals",
        "Normal test patches include tissue of tumour slides",
    ),
)
