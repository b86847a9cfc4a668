"""The S3 server under load: speed, and what a power failure costs: `python benchmarks/object_server.py` (root, 3 minutes).

The server's files are on a file system in a loop device. A power failure is: kill -9 the server, and go on with a copy of
the device as it is at that moment, without what the kernel had not written yet. With fsync nothing acknowledged may be
lost; without it, as SeaweedFS comes, the ledger must say what was.
"""
