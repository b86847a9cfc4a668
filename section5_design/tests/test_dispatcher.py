"""Waking workers: messages are few, and nobody who stored an instance waits for the broker."""

import threading

import pytest

from jobs import dispatcher


class Broker:
    """Takes a wake-up only when it is allowed to."""

    def __init__(self, *, works: bool = True) -> None:
        self.sent: list[str] = []
        self.works = works
        self.arrived, self.allowed = threading.Semaphore(0), threading.Semaphore(0)

    def send(self, queue: str) -> bool:
        """Stand in for `send_wake_up`."""
        self.sent.append(queue)
        self.arrived.release()
        return self.allowed.acquire(timeout=60) and self.works


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    made = Broker()
    monkeypatch.setattr(dispatcher, "send_wake_up", made.send)
    monkeypatch.setattr(dispatcher, "_waker", dispatcher.Waker())
    monkeypatch.setattr(dispatcher, "MIN_INTERVAL", 0)
    return made


def test_wake_does_not_wait_for_the_broker(broker: Broker) -> None:
    dispatcher.wake("small")
    assert broker.arrived.acquire(timeout=60)  # the broker has not answered yet
    broker.allowed.release()


def test_many_wake_ups_become_one_message(broker: Broker) -> None:
    dispatcher.wake("small")
    assert broker.arrived.acquire(timeout=60)
    for _ in range(100):
        dispatcher.wake("small")
    broker.allowed.release(2)
    assert broker.arrived.acquire(timeout=60)
    dispatcher.wake("large")
    assert broker.arrived.acquire(timeout=60)
    assert broker.sent == ["small", "small", "large"]
    broker.allowed.release()


def test_last_of_a_burst_is_followed_by_a_message(broker: Broker) -> None:
    dispatcher.wake("small")
    assert broker.arrived.acquire(timeout=60)
    dispatcher.wake("small")  # its job may come too late for the worker that the first message wakes
    broker.allowed.release(2)
    assert broker.arrived.acquire(timeout=60)
    assert broker.sent == ["small", "small"]
