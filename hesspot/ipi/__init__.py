"""Whole runs of i-PI: inputs, curvature files, scripts, and starting them."""
