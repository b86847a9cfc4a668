"""Who did what, when: the log that nobody changes, chained by hash, as DICOM messages; signed receipts out of it."""
