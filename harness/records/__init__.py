"""Records: the one JSON file that a run leaves, and the results folder that holds them."""
