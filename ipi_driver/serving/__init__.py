"""Processes that answer i-PI: the session, its worker, its ranks, and how they end."""
