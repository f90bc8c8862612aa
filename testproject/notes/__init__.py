"""Notes: what a project builds on the package. Each belongs to its owner, and editors publish them."""
