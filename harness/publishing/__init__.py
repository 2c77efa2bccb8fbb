"""Publishing: the public form of a record, the published folder, signed bundles."""
