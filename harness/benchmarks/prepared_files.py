"""Names of the files that `harness.prepare` writes beside a pack's images and its card."""

MANIFEST_NAME = "manifest.jsonl"
"""From which raw file each image comes."""
SOURCES_NAME = "sources.csv"
"""The raw files that were read."""
REPORT_NAME = "prepared.json"
"""How the pack was made."""
