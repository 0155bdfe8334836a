"""Benchmarks: `make bench`. Ratios of interleaved pairs, as single timings are noisy anywhere."""
