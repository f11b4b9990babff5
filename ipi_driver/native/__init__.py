"""The compiled part of the driver."""
