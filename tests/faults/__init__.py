"""Faults in real runs, and what comes of them."""
