"""From an instance to its result: the analysis contract, the default analysis, results."""
