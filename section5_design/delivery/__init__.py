"""Send stored instances to other systems: destinations, rules, and a job for each delivery."""
