"""Signals by which the archive lets the apps above it take part."""

from django.dispatch import Signal

# Sent inside the transaction that erases instances, with `instance_ids`. A receiver deletes its own rows about them and
# returns the keys of objects to delete after the commit.
instances_erased = Signal()

# Sent once for each instance, in batches, with `instances` (their series and studies loaded), inside a transaction that
# is repeated if a receiver fails.
instances_stored = Signal()

# Sent once for each association that was released, in the same way, after its instances were announced.
association_released = Signal()
