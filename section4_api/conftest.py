"""Put the section and its tests on the path, so that `pytest` works when it is started in this folder."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "tests")]
