"""What the board shows: rows, ranks, comparisons, tracks, curves, pictures, data cards."""
