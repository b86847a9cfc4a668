"""Uploads by people: resumable (tus) or by a form; files and ZIP archives."""
