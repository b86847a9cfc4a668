"""Who did what, when: the log that nobody changes, chained by hash, as DICOM messages, and signed receipts out of it."""
