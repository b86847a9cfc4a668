"""The web portal and the read API."""
