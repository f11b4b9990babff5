"""The i-PI driver: serves an exported hesspot model over i-PI's socket protocol."""
