"""The background loops of `main.py maintenance`, put together from the apps that they belong to."""

import time

from analysis.garbage import PREVIEW_PREFIXES, collect_previews, collect_work_folders
from archive.arrivals import announce_arrivals
from archive.garbage import PREFIXES, collect_files, collect_orphans
from audit.chain import extend_chain
from audit.checkpoints import make_checkpoint
from core.loops import Loop
from core.partitions import make_partitions
from ingest.dimse.commitment import CommitmentReporter
from jobs.dispatcher import dispatch
from jobs.queue import mark_silent_workers, requeue_expired
from portal.live import ChangeNotifier

JANITOR_SECONDS = 60.0


def build_loops() -> list[Loop]:
    """Return the loops. Each has its own thread and its own lease."""
    return [
        Loop("reaper", 1.0, requeue_expired),
        Loop("dispatcher", 0.2, dispatch),
        Loop("announcer", 0.5, announce_arrivals),
        Loop("partitions", 600.0, make_partitions),
        Loop("janitor", JANITOR_SECONDS, clean_up),
        Loop("commitment-reporter", 1.0, CommitmentReporter().run_once),
        Loop("audit-chainer", 1.0, lambda: extend_chain() > 0),
        Loop("audit-checkpoints", 600.0, make_checkpoint),
        Loop("change-notifier", 1.0, ChangeNotifier().run_once),
    ]


def clean_up() -> None:
    """Forget silent workers; remove abandoned files, and orphaned objects and previews under one prefix."""
    mark_silent_workers()
    collect_files()
    collect_work_folders()
    number = int(time.time() / JANITOR_SECONDS)
    collect_orphans([number % PREFIXES])
    collect_previews([number % PREVIEW_PREFIXES])
