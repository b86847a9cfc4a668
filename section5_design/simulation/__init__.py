"""The capacity model: set and validated by measurements of the running system."""
