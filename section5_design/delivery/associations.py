"""Associations that stay open for a batch: its deliveries to one destination are sent over one of them."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from delivery import dicom
from delivery.connections import hold_connection
from delivery.models import Delivery, Destination
from jobs.handlers import close_after_batch

AHEAD = 500  # deliveries whose SOP classes and transfer syntaxes are proposed with those of the first one
MAX_CONTEXTS = 100  # an association has at most 128


class Associations:
    """The open associations of this process, by destination; each holds one of the destination's connections."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[Any, ExitStack]] = {}

    def send(self, delivery: Delivery, path: Path) -> None:
        """Send an instance, over the open association if there is one that its SOP class was proposed for.

        Raises:
            PostponeError: all connections to the destination are in use.
            RefusedError: the destination refused the instance.
            UnavailableError: it cannot be reached, or did not answer.

        """
        key, instance = delivery.destination.pk, delivery.instance
        pair = (instance.sop_class_uid, instance.transfer_syntax_uid)
        association, _ = self._open.get(key, (None, None))
        if association is None or not association.is_established or pair not in proposed_pairs(association):
            self.close(key)
            association = self.open(delivery.destination, pair)
        dicom.send(association, instance, path)

    def open(self, destination: Destination, pair: tuple[str, str]) -> Any:
        """Associate with a destination, for a pair of SOP class and transfer syntax and those that wait behind it."""
        waiting = Delivery.objects.filter(destination=destination, delivered_at=None).order_by("pk")[:AHEAD]
        pairs = dict.fromkeys([pair, *waiting.values_list("instance__sop_class_uid", "instance__transfer_syntax_uid")])
        contexts = [(sop_class, [syntax]) for sop_class, syntax in list(pairs)[:MAX_CONTEXTS]]
        with ExitStack() as stack:
            stack.enter_context(hold_connection(destination))
            association = stack.enter_context(dicom.associate(destination, contexts))
            self._open[destination.pk] = association, stack.pop_all()
        close_after_batch(lambda: self.close(destination.pk))
        return association

    def close(self, key: int, *, abort: bool = False) -> None:
        """Close the association with a destination, if it is open."""
        if key not in self._open:
            return
        association, stack = self._open.pop(key)
        with stack:
            if abort and association.is_established:
                association.abort()


def proposed_pairs(association: Any) -> list[tuple[str, str]]:
    """Return the pairs of SOP class and transfer syntax that were proposed."""
    return [(one.abstract_syntax, one.transfer_syntax[0]) for one in association.requestor.requested_contexts]
