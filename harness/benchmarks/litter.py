"""What operating systems, file servers and editors leave between the files: one list for all."""

from __future__ import annotations

_NAMES = frozenset(
    {
        "__macosx",  # macOS, in archives
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information"),
        *("@eadir", "@recycle", "#recycle", "#snapshot"),  # Synology, QNAP
        "lost+found",
    }
)


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name is nobody's data; case makes no difference.

    Whatever begins with a dot is (`.DS_Store`, `._a.png`, `.ipynb_checkpoints`, `.git`), the lock
    files of office programs (`~$a.csv`), and the names above.
    """
    return name.startswith((".", "~$")) or name.strip().lower() in _NAMES
