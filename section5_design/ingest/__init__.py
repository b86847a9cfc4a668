"""Receiving instances: C-STORE, STOW-RS and folders, all through `store.py`."""
