"""The same questions asked of every engine: deployment error and model error, never mixed."""
