"""Leases: which process runs a background loop."""

from django.db import models


class LoopLease(models.Model):
    """The process that currently runs a loop; another one takes over when the lease expires."""

    name = models.CharField(primary_key=True, max_length=50)
    holder = models.CharField(max_length=100)
    expires_at = models.DateTimeField()

    class Meta:
        """Named as what it is."""

        db_table = "core_loop_lease"
