"""The engines: each answers for a model file and a list of structures."""
