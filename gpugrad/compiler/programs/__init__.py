"""Recorded programs, and what makes them shorter."""
