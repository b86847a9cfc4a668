"""Patients' studies, their series and instances, as DICOM names them (PS3.3, A.1.2)."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now


class KeyEncryptionKey(models.Model):
    """A key that wraps the data keys of objects (KEK); itself wrapped under the master key."""

    id = models.UUIDField(primary_key=True)
    wrapped = models.BinaryField()
    uses = models.BigIntegerField(default=0)  # reserved by the processes that wrap data keys with it
    created_at = models.DateTimeField(db_default=Now())


class Study(models.Model):
    """A study, with the patient's attributes as its first instance gave them."""

    uid = models.CharField(max_length=64, unique=True, db_collation="C")
    patient_id = models.CharField(max_length=64, default="", db_default="", db_index=True)
    patient_name = models.CharField(max_length=324, default="", db_default="")
    patient_birth_date = models.CharField(max_length=8, default="", db_default="")
    patient_sex = models.CharField(max_length=16, default="", db_default="")
    # DA as received; not necessarily a valid date
    study_date = models.CharField(max_length=8, default="", db_default="", db_index=True)
    study_time = models.CharField(max_length=14, default="", db_default="")
    timezone_offset_from_utc = models.CharField(max_length=5, default="", db_default="")
    accession_number = models.CharField(max_length=16, default="", db_default="", db_index=True)
    study_id = models.CharField(max_length=16, default="", db_default="")
    study_description = models.CharField(max_length=64, default="", db_default="")
    referring_physician_name = models.CharField(max_length=324, default="", db_default="")
    created_at = models.DateTimeField(db_default=Now(), db_index=True)


class Series(models.Model):
    """A series. Real archives see one series UID in two studies, so it is unique within its study only."""

    study = models.ForeignKey(Study, models.PROTECT)
    uid = models.CharField(max_length=64, db_collation="C")
    modality = models.CharField(max_length=16, default="", db_default="")
    series_number = models.IntegerField(null=True)
    series_description = models.CharField(max_length=64, default="", db_default="")
    body_part_examined = models.CharField(max_length=16, default="", db_default="")
    performed_procedure_step_start_date = models.CharField(max_length=8, default="", db_default="")
    performed_procedure_step_start_time = models.CharField(max_length=14, default="", db_default="")
    # IDs by keyword, for each request that the series belongs to
    request_attributes = models.JSONField(default=list, db_default=models.Value([], models.JSONField()))

    class Meta:
        """One row for each series of a study."""

        constraints: ClassVar = [models.UniqueConstraint(fields=["study", "uid"], name="series_of_study")]
        verbose_name_plural = "series"


class Instance(models.Model):
    """An acknowledged instance: its bytes are durable under their SHA-256, and this row is committed."""

    sop_instance_uid = models.CharField(max_length=64, db_collation="C")
    sha256 = models.CharField(max_length=64, db_collation="C", db_index=True)
    series = models.ForeignKey(Series, models.PROTECT)
    sop_class_uid = models.CharField(max_length=64)
    transfer_syntax_uid = models.CharField(max_length=64)
    instance_number = models.IntegerField(null=True)
    number_of_frames = models.IntegerField(null=True)
    rows = models.IntegerField(null=True)
    columns = models.IntegerField(null=True)
    bits_allocated = models.IntegerField(null=True)
    size = models.BigIntegerField()  # bytes of the file
    decoded_size = models.BigIntegerField()  # bytes of the decoded pixels; 0 without pixels
    source = models.CharField(max_length=100)  # its first sender: dicom:AE, http:TOKEN, user:NAME, folder:PATH
    conflict = models.BooleanField(default=False)  # the same UID also exists with other content
    correlation_id = models.CharField(max_length=32, default="", db_default="")  # of the request that brought it
    received_at = models.DateTimeField(db_default=Now(), db_index=True)

    class Meta:
        """The same content is the same instance; other content under the same UID is another, flagged as a conflict."""

        constraints: ClassVar = [models.UniqueConstraint(fields=["sop_instance_uid", "sha256"], name="one_instance")]

    def __str__(self) -> str:
        return self.sop_instance_uid


class Arrival(models.Model):
    """An instance that was stored and not yet announced to the apps above (`arrivals.py`)."""

    instance = models.OneToOneField(Instance, models.DO_NOTHING, primary_key=True, db_constraint=False)


class Release(models.Model):
    """An association that was released and not yet announced: the IDs of the instances that it brought."""

    instances = ArrayField(models.BigIntegerField())
