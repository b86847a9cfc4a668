"""The audit log: who did what and when, append-only, chained by hash, exportable as DICOM audit messages."""
