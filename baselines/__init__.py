"""The baselines: a folder per method, and the kit that they share."""
