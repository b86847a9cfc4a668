"""What is kept: studies, series, instances, their objects."""
