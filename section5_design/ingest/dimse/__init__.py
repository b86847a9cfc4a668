"""DICOM over TCP: the upper layer (PS3.8), the messages (PS3.7) and the storage services built on them."""
