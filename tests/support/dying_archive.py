"""The command `customers`, which kills itself where STEP says: `before:NAME` or `after:NAME`.

Run as a process of its own. NAME is a function of the room that archives; what is on the disk, and
what was committed, is all that is left of it.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module

from service.cli.main import main

PLACES = {
    "_write": "service.log_archive.writing",
    "write_file": "service.log_archive.archiving",
    "compare": "service.log_archive.archiving",
    "make_snapshots": "service.log_archive.archiving",
    "_take_away": "service.log_archive.archiving",
    "_fill": "service.log_archive.attaching",
    "_attach": "service.log_archive.attaching",
    "drop_unneeded_snapshots": "service.log_archive.attaching",
}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def patch(when: str, name: str) -> None:
    module = import_module(PLACES[name])
    original = getattr(module, name)

    async def dying(*arguments: object, **named: object) -> object:
        if when == "before":
            die()
        result = await original(*arguments, **named)
        die()
        return result

    setattr(module, name, dying)


if __name__ == "__main__":
    when, _, name = sys.argv.pop(1).partition(":")
    patch(when, name)
    main()
