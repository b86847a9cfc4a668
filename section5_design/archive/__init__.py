"""The archive: studies, series, instances, and their encrypted objects."""
