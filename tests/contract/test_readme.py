"""The specification's examples are true: they are played against real entries."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.contract import frames, lines

CONTRACT = Path(frames.__file__).parent
README = (CONTRACT / "README.md").read_text()
PERL_ENTRY = Path(__file__).parent / "entries" / "mean_grey.pl"


def run(command, **options):
    return subprocess.run(command, capture_output=True, check=False, **options)


def session_bytes(direction: str) -> bytes:
    """All bytes of one direction in the worked example."""
    (block,) = re.findall(r"```session\n(.*?)```", README, re.DOTALL)
    data = b""
    for line in block.splitlines():
        if not line.startswith(direction + " "):
            continue
        text = line[2:]
        if text.startswith("hex "):
            data += bytes.fromhex(text[4:])
        else:
            data += text.replace("\\n", "\n").encode()
    return data


def example_lines() -> list[str]:
    """Every frame that stands in a code block."""
    found = re.findall(r"^(\{\"type\".*?\})(?:   .*)?$", README, re.MULTILINE)
    assert len(found) >= 10
    return found


def test_the_worked_example_is_byte_for_byte_what_an_entry_reads_and_writes():
    played = run(["/usr/bin/perl", PERL_ENTRY, "predict"], input=session_bytes(">"))
    assert played.returncode == 0, played.stderr
    assert played.stdout == session_bytes("<")


@pytest.mark.parametrize("line", example_lines())
def test_every_example_is_a_frame_and_written_as_the_harness_writes_it(line):
    frame = frames.parse_frame(line.encode() + b"\n")
    assert frame.line() == line.encode() + b"\n"


def test_the_numbers_of_the_page_are_those_of_the_code():
    assert f"at most {lines.MAX_LINE_BYTES:,} bytes" in README
    assert re.search(rf"nested at most\s+{lines.MAX_DEPTH} levels", README)


def test_the_python_example_runs_with_a_copy_of_the_folder_alone(tmp_path):
    shutil.copytree(CONTRACT, tmp_path / "contract")
    (source,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "entry.py").write_text(source)
    command = [sys.executable, "-W", "error", "entry.py"]
    described = run([*command, "describe"], cwd=tmp_path)
    assert frames.Description.from_line(described.stdout).name == "mean_grey"
    played = run(
        [*command, "predict"],
        cwd=tmp_path,
        input=session_bytes(">").replace(b'"maps_wanted":true', b'"maps_wanted":false'),
        env={"PATH": "/usr/bin"},
    )
    assert played.returncode == 0, played.stderr
    assert played.stdout == (
        b'\n{"type":"ready","contract":1,"maps":false}\n'
        b'{"type":"map","id":"k3v9qj2mhx7aw4ct","score":0.5,"shape":null}\n'
    )


def test_the_perl_entry_describes_itself():
    described = run(["/usr/bin/perl", PERL_ENTRY, "describe"])
    assert frames.Description.from_line(described.stdout) == frames.Description("mean_grey", True)
