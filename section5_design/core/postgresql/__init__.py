"""A database backend for Django; see base.py."""
