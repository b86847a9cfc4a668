"""What Prometheus is told, by every part; `health.py` serves it. The processes of a part count together.

Nothing here names a patient, a person or an image.
"""

from prometheus_client import Counter, Histogram

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

received = Counter("dicom_received", "Images that were sent here", ["way", "outcome"])
receive_seconds = Histogram(
    "dicom_receive_seconds", "From the last byte to the acknowledgement", ["way"], buckets=SECONDS
)
associations = Counter("dicom_associations", "DICOM associations that were asked for", ["outcome"])
attempts = Counter("dicom_attempts", "Tries of jobs", ["outcome"])
work_seconds = Histogram("dicom_work_seconds", "A try of a job", buckets=SECONDS)
requests = Counter("dicom_http_requests", "Requests", ["route", "method", "status"])
request_seconds = Histogram("dicom_http_seconds", "A request", ["route"], buckets=SECONDS)
broken_seals = Counter("dicom_broken_seals", "Objects that were found altered")
