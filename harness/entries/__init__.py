"""Entries: what is run, from whatever names it, and where it comes from."""
