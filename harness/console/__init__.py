"""The command line: what all verbs share, and the options that say which images."""
