"""Measurements, each one command; none is part of what is installed."""
