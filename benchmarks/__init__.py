"""What is measured, and against whom. Every number is a ratio of medians taken in turn in one run."""
