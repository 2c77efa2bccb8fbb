"""The harness of the leaderboard: runs entries, scores them, keeps the records."""

__version__ = "0.1.0"
