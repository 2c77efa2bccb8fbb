"""The GPUs of this machine: which there are, who uses how much of one, and whether one is well."""
