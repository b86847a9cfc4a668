"""The history of the processing tables."""
