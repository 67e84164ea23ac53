"""Merging what was approved, and nothing else."""
