"""Measurements beside peers and physical limits, in one run on the same files. See docs/explanation/benchmarks.md."""
