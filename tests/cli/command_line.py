"""How tests start hesspot as a process."""

import os
import sys

#: As `hesspot`, whichever environment runs the tests.
HESSPOT = [sys.executable, "-m", "hesspot"]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", **more}
