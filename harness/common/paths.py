"""Where the things of this checkout lie: baselines, submissions, published records, trusted keys."""

from __future__ import annotations

from pathlib import Path

import harness

REPOSITORY = Path(harness.__file__).resolve().parent.parent
BASELINES = REPOSITORY / "baselines"
SUBMISSIONS = REPOSITORY / "submissions"
PUBLISHED_RECORDS = REPOSITORY / "leaderboard" / "records"
PUBLIC_KEYS = REPOSITORY / "leaderboard" / "keys"
LOCK_FILE = REPOSITORY / "requirements.lock"
