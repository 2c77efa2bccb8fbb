"""Trained models: kept by content, given by a caller, or gone on with after an interruption."""
