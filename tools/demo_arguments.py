"""Print the arguments that `make demo` gives a section: --once where it would otherwise keep serving."""

import sys
from pathlib import Path

SERVING = {"section4_api", "section5_design"}

if __name__ == "__main__" and Path(sys.argv[1]).name in SERVING:
    print("--once")
