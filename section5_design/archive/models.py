"""Patients' studies, their series and instances, as DICOM names them (PS3.3, A.1.2)."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now


class Sender(models.Model):
    """Who may send over HTTP. Only the SHA-256 of the token is kept, so that a stolen database opens nothing."""

    digest = models.CharField(primary_key=True, max_length=64)
    name = models.CharField(max_length=100, unique=True)
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.name


class Peer(models.Model):
    """A DICOM application entity that may send, and from where; with a port, it is called back (storage commitment)."""

    title = models.CharField(primary_key=True, max_length=16)
    network = models.CharField(max_length=50)  # an address, or a network as 10.1.0.0/16
    port = models.IntegerField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.title


class SealingKey(models.Model):
    """A key under which the data keys of objects are wrapped; itself wrapped under the master key."""

    id = models.UUIDField(primary_key=True)
    wrapped = models.BinaryField()
    created_at = models.DateTimeField(db_default=Now())


class Study(models.Model):
    """A study, with what its first instance says of the patient."""

    uid = models.CharField(max_length=64, unique=True, db_collation="C")
    patient_id = models.CharField(max_length=64, db_index=True)
    patient_name = models.CharField(max_length=324)
    study_date = models.CharField(max_length=8)  # DA as it stands, which may be no date
    created_at = models.DateTimeField(db_default=Now(), db_index=True)


class Series(models.Model):
    """A series. A real archive meets one series UID in two studies, so it is unique within its study only."""

    study = models.ForeignKey(Study, models.PROTECT)
    uid = models.CharField(max_length=64, db_collation="C")
    modality = models.CharField(max_length=16)

    class Meta:
        """One row for each series of a study."""

        constraints: ClassVar = [models.UniqueConstraint(fields=["study", "uid"], name="series_of_study")]
        verbose_name_plural = "series"


class Instance(models.Model):
    """An object that was acknowledged: its bytes are safe under its SHA-256, and this row is committed."""

    sop_instance_uid = models.CharField(max_length=64, db_collation="C")
    sha256 = models.CharField(max_length=64, db_collation="C", db_index=True)
    series = models.ForeignKey(Series, models.PROTECT)
    sop_class_uid = models.CharField(max_length=64)
    transfer_syntax_uid = models.CharField(max_length=64)
    size = models.BigIntegerField()  # bytes of the file
    decoded_size = models.BigIntegerField()  # bytes of the pixels, decoded; 0 without
    source = models.CharField(max_length=100)  # who sent it first
    conflict = models.BooleanField(default=False)  # the same UID came with other content
    trace = models.CharField(max_length=32, default="", db_default="")  # of the request or association that brought it
    received_at = models.DateTimeField(db_default=Now(), db_index=True)

    class Meta:
        """The same content again is the same instance; the same UID with other content is another, flagged."""

        constraints: ClassVar = [models.UniqueConstraint(fields=["sop_instance_uid", "sha256"], name="one_instance")]

    def __str__(self) -> str:
        return self.sop_instance_uid
