"""Everything that brings an instance in."""
