"""A queue of jobs in PostgreSQL, and the workers that run them. It knows nothing about DICOM.

A job has a kind, a subject and a priority. The app that a kind belongs to registers its handler (`handlers.py`).
"""
