"""The questions that an engine is asked about itself; each check takes a `Subject` and gives its findings."""
