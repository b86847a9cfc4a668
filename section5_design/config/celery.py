"""Celery. A message says that a queue has work, so losing or repeating one costs nothing.

TASK_SECONDS < LEASE_SECONDS < RabbitMQ's consumer timeout (30 minutes): a task that is killed at its limit still holds
its leases, the reaper requeues its jobs when they expire, and the broker does not redeliver the message before.
"""

import os
import ssl
import time
import uuid
from typing import Any
from urllib.parse import urlsplit

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from celery import Celery
from django.conf import settings
from kombu import Exchange, Queue
from kombu.transport import filesystem
from kombu.utils.json import dumps

QUEUES = ("small", "large", "gpu")
MAX_MESSAGES = 64  # in a queue; more wake-ups would wake nobody else
ON_FILES = settings.BROKER_URL.startswith("filesystem:")


class AtomicFiles(filesystem.Channel):
    """Writes messages atomically; kombu's own exposes a file before its content is written, and its reader dies.

    Its files of bindings have the same fault. They are not written: Celery sends to a queue by the queue's name.
    """

    supports_fanout = False

    def _put(self, queue: str, payload: Any, **_: Any) -> None:
        if sum(name.endswith(f".{queue}.msg") for name in os.listdir(self.data_folder_out)) >= MAX_MESSAGES:  # noqa: PTH208
            return
        name = os.path.join(self.data_folder_out, f"{int(time.monotonic() * 1000)}_{uuid.uuid4()}.{queue}.msg")  # noqa: PTH118
        with open(f"{name}.part", "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write(dumps(payload))
        os.rename(f"{name}.part", name)  # noqa: PTH104


filesystem.Transport.Channel = AtomicFiles

app = Celery("section5", broker=settings.BROKER_URL)


def broker_queue(name: str) -> str:
    """Return the broker's name of a queue of jobs."""
    return f"jobs-{name}"


def declare_queue(name: str) -> Queue:
    """Return a queue; on RabbitMQ a short durable quorum queue that drops the oldest wake-up when it is full."""
    if ON_FILES:
        return Queue(name)
    arguments = {"x-queue-type": "quorum", "x-delivery-limit": 5, "x-max-length": MAX_MESSAGES}
    return Queue(name, Exchange(name, "direct", durable=True), name, durable=True, queue_arguments=arguments)


# The broker must present a certificate of this CA, or of one that this machine trusts, for its host.
BROKER_TLS = settings.BROKER_URL.startswith("amqps:") and {
    "cert_reqs": ssl.CERT_REQUIRED,
    "ca_certs": settings.BROKER_CA or None,
    "server_hostname": urlsplit(settings.BROKER_URL).hostname,
    "tls_minimum_version": ssl.TLSVersion.TLSv1_2,
}

folder = settings.DATA_FOLDER / "broker"
if ON_FILES:
    folder.mkdir(parents=True, exist_ok=True)

app.conf.update(
    task_queues=[declare_queue(broker_queue(name)) for name in QUEUES],
    task_default_queue=broker_queue("small"),
    task_acks_late=True,
    task_reject_on_worker_lost=False,  # the lease recovers the jobs; a message that kills its worker must not return
    task_ignore_result=True,
    task_time_limit=settings.TASK_SECONDS,
    worker_prefetch_multiplier=1,
    worker_enable_remote_control=False,
    worker_hijack_root_logger=False,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    broker_connection_retry_on_startup=True,
    broker_heartbeat=10,  # seconds; a broken connection is noticed after two
    broker_connection_timeout=2,
    broker_connection_max_retries=5,  # then the worker ends itself, and is restarted
    broker_use_ssl=BROKER_TLS,
    broker_transport_options={
        "data_folder_in": str(folder),
        "data_folder_out": str(folder),
        "polling_interval": 0.02,
    }
    if ON_FILES
    else {
        "max_retries": 1,
        "socket_timeout": 5,
    },  # no confirms: a queue without a leader sends none, and every publisher would wait
    imports=["jobs.tasks"],
)
if not ON_FILES:
    app.conf.worker_detect_quorum_queues = True
