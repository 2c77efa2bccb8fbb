"""Campaigns on a Ray cluster: placed by Ray, checked by each node, stored here."""
