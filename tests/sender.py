"""A process that delivers what is due, to be killed: python -m tests.sender FOLDER URL CONNECTIONS [MINUTES]"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from tests.backends import open_storage
from tests.deliveries import QUICK, run_pass


def main(folder: str, url: str, connections: str, minutes: str = "0") -> None:
    storage = open_storage(Path(folder))
    print("ready", flush=True)
    report = run_pass(storage, url, replace(QUICK, connections=int(connections)), minutes=float(minutes))
    print(dict(report.counts), report.stopped, flush=True)
    storage.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
