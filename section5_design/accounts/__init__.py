"""Who may send, see and operate: application entities, API tokens, roles, access rules."""
