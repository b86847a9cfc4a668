"""Fetch a patient's earlier studies (priors) from other archives when a study arrives: rules, C-FIND, C-MOVE."""
