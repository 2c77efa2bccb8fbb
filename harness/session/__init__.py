"""A session: one conversation with one started entry through the contract, and the scores of its answers."""
