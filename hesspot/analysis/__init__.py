"""Normal modes, drifts and averages of runs, figures and the report."""
