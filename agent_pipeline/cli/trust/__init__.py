"""`join` and `trust`: who may do what here, from the first pin to a stolen key. One file for each step."""
