"""The DICOM network interface: C-ECHO, C-STORE and storage commitment."""
