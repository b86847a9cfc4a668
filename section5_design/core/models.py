"""Leases (which process runs a background loop), and when each source last wrote."""

from django.db import models


class LoopLease(models.Model):
    """The process that currently runs a loop; another one takes over when the lease expires."""

    name = models.CharField(primary_key=True, max_length=50)
    holder = models.CharField(max_length=100)
    expires_at = models.DateTimeField()

    class Meta:
        """Named as what it is."""

        db_table = "core_loop_lease"


class LastWrite(models.Model):
    """When a person or a program last wrote: until the standby has that, they read from the primary."""

    source = models.CharField(primary_key=True, max_length=100)  # as in the audit log: user:NAME, http:TOKEN, dicom:AE
    at = models.DateTimeField()

    class Meta:
        """Named as what it is."""

        db_table = "core_last_write"
