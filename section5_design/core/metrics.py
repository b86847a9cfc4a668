"""Prometheus metrics of every program; `health.py` serves them. The processes of a program share one set of counters.

No metric names a patient, a person or an image.
"""

from prometheus_client import Counter, Histogram

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

received = Counter("dicom_received", "Instances received", ["interface", "outcome"])
receive_seconds = Histogram(
    "dicom_receive_seconds", "Time from the last byte to the acknowledgement", ["interface"], buckets=SECONDS
)
associations = Counter("dicom_associations", "DICOM associations requested", ["outcome"])
attempts = Counter("dicom_attempts", "Attempts at jobs", ["outcome"])
job_seconds = Histogram("dicom_job_duration_seconds", "Duration of an attempt at a job", buckets=SECONDS)
requests = Counter("dicom_http_requests", "HTTP requests", ["route", "method", "status"])
request_seconds = Histogram("dicom_http_seconds", "Duration of an HTTP request", ["route"], buckets=SECONDS)
integrity_failures = Counter("dicom_integrity_failures", "Objects found altered")
