"""Structures that a potential must know, made from a few, and the few of many that cover most."""
