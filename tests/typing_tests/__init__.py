"""Code as a project would write it. Nothing here runs: `make types` reads it, with mypy --strict and our py.typed."""
