"""Errors of a model against its reference: what is asked, what was answered, and the table of differences."""
