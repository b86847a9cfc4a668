"""What Prometheus is told, by every part; `health.py` serves it. The processes of a part count together.

Nothing here names a patient, a person or an image.
"""

from prometheus_client import Counter, Histogram

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

received = Counter("section5_received", "Images that were sent here", ["way", "outcome"])
receive_seconds = Histogram(
    "section5_receive_seconds", "From the last byte to the acknowledgement", ["way"], buckets=SECONDS
)
associations = Counter("section5_associations", "DICOM associations that were asked for", ["outcome"])
attempts = Counter("section5_attempts", "Tries of jobs", ["outcome"])
work_seconds = Histogram("section5_work_seconds", "A try of a job", buckets=SECONDS)
requests = Counter("section5_http_requests", "Requests", ["route", "method", "status"])
request_seconds = Histogram("section5_http_seconds", "A request", ["route"], buckets=SECONDS)
broken_seals = Counter("section5_broken_seals", "Objects that were found altered")
