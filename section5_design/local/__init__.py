"""Everything on one machine: an embedded PostgreSQL, a supervisor, development certificates, a demo."""
