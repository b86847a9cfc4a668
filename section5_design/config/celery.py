"""Celery, set up so that losing or doubling a message costs nothing: a message says only 'look at this job'.

TASK_SECONDS < LEASE_SECONDS < RabbitMQ's consumer timeout (30 minutes): a task that is killed at its limit still holds
its lease, the sweeper takes it up when that ends, and the broker does not take the message back meanwhile.
"""

import os
import ssl
import time
import uuid
from typing import Any
from urllib.parse import urlsplit

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from celery import Celery
from celery.signals import worker_init
from django.conf import settings
from kombu import Exchange, Queue
from kombu.transport import filesystem
from kombu.utils.json import dumps

QUEUES = ("small", "large")
ON_FILES = settings.BROKER_URL.startswith("filesystem:")

# Where a message goes that no worker could take; nobody needs it, but somebody may want to see that there are some.
DEAD = Queue("dead", durable=True, queue_arguments={"x-queue-type": "quorum", "x-max-length": 1000})


class WholeFiles(filesystem.Channel):
    """Kombu's own shows a message's file before it is written; a reader that came between read nothing, and ended."""

    def _put(self, queue: str, payload: Any, **_: Any) -> None:
        name = os.path.join(self.data_folder_out, f"{int(time.monotonic() * 1000)}_{uuid.uuid4()}.{queue}.msg")  # noqa: PTH118
        with open(f"{name}.part", "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write(dumps(payload))
        os.rename(f"{name}.part", name)  # noqa: PTH104


filesystem.Transport.Channel = WholeFiles

app = Celery("section5", broker=settings.BROKER_URL)


def queue(name: str) -> Queue:
    """A queue; on RabbitMQ a durable quorum queue that gives up after five deliveries, to a queue of the dead."""
    if ON_FILES:
        return Queue(name)
    dead = {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "dead",
        "x-dead-letter-strategy": "at-least-once",
    }
    arguments = {"x-queue-type": "quorum", "x-delivery-limit": 5, "x-overflow": "reject-publish", **dead}
    return Queue(name, Exchange(name, "direct", durable=True), name, durable=True, queue_arguments=arguments)


# The broker must show a certificate of the CA that is named, or of one that this machine trusts, for its host.
BROKER_TLS = settings.BROKER_URL.startswith("amqps:") and {
    "cert_reqs": ssl.CERT_REQUIRED,
    "ca_certs": settings.BROKER_CA or None,
    "server_hostname": urlsplit(settings.BROKER_URL).hostname,
    "tls_minimum_version": ssl.TLSVersion.TLSv1_2,
}

folder = settings.DATA_FOLDER / "broker"
if ON_FILES:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "control").mkdir(exist_ok=True)

app.conf.update(
    task_queues=[queue(name) for name in QUEUES],
    task_default_queue="small",
    task_acks_late=True,
    task_reject_on_worker_lost=False,  # the lease recovers; a message that kills its worker must not come again
    task_ignore_result=True,
    task_time_limit=settings.TASK_SECONDS,
    worker_prefetch_multiplier=1,
    worker_enable_remote_control=False,
    worker_hijack_root_logger=False,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    broker_connection_retry_on_startup=True,
    broker_heartbeat=10,  # seconds; a line that is cut is noticed after two
    broker_connection_max_retries=5,  # then the worker ends itself, and is started anew
    broker_use_ssl=BROKER_TLS,
    broker_transport_options={
        "data_folder_in": str(folder),
        "data_folder_out": str(folder),
        "control_folder": str(folder / "control"),
        "polling_interval": 0.05,
    }
    if ON_FILES
    else {
        "max_retries": 1,
        "socket_timeout": 5,
    },  # no confirms: a queue without a leader gives none, and all would wait
    imports=["processing.tasks"],
)
if not ON_FILES:
    app.conf.worker_detect_quorum_queues = True


@worker_init.connect
def declare_dead(**_: object) -> None:
    """Where messages of the dead go must be there before the first of them."""
    if not ON_FILES:
        with app.connection_for_write() as connection:
            DEAD.bind(connection.default_channel).declare()
