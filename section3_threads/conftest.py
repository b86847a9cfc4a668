"""Let bare `pytest` import the section's modules."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
