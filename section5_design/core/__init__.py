"""What every app may use: correlation IDs, metrics, health, leases, loops, partitions, HTTP middleware."""
