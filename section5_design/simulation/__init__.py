"""How the system grows: a model, fed and checked by measurements of the running system, and what it says."""
