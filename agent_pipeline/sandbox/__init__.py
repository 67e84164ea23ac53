"""Where untrusted code runs: one contract, Docker and bubblewrap behind it; the images; the self-test."""
