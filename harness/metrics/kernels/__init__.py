"""What the metrics compute with: loops over every pixel, compiled by numba, and their arrays."""
