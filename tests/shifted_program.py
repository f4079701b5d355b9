"""`python -m tests.shifted_program FILE WORDS...`: runs `digestbot WORDS...` with its wall clock moved on.

FILE holds by how many seconds; whenever that changes, the clock is set anew, as an administrator would. The monotonic
clock goes on as it is.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import time_machine


def main() -> None:
    file, words = Path(sys.argv[1]), sys.argv[2:]
    shift = int(file.read_text())
    clock = time_machine.travel(time.time() + shift, tick=True).start()
    threading.Thread(target=_follow, args=(file, shift, clock), daemon=True).start()
    from digestbot.cli import main as digestbot

    sys.argv = ["digestbot", *words]
    digestbot()


def _follow(file: Path, shift: int, clock: time_machine.Traveller) -> None:
    while True:
        time.sleep(0.1)
        wanted = int(file.read_text())
        clock.shift(wanted - shift)
        shift = wanted


if __name__ == "__main__":
    main()
