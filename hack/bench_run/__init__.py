"""Runs the benchmarks, each in the cluster that it needs, and keeps what they say."""
