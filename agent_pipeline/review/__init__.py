"""Staging what CI admitted, and what reviewers decide about it."""
