"""Who reads, over HTTP or DIMSE, and what they may see: the same rules for a session, a token and an entity."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse

from accounts.access import all_instances, program_instances, visible_instances, visible_studies
from accounts.api_tokens import UnknownTokenError, authenticate_token
from accounts.audit_events import client_address
from accounts.models import ApiToken, ApplicationEntity
from archive.models import Instance, Study


class UnknownReaderError(Exception):
    """The request is not authenticated."""


@dataclass(frozen=True)
class Reader:
    """A person or a program that reads.

    Attributes:
        name: as the audit log names it: user:NAME, http:TOKEN, dicom:AE.
        address: where it reads from.
        instances: returns the instances that it may see; of many, `ranges` of their IDs make it quicker.
        studies: returns the studies of these, quickly; None for a program, whose studies are not recorded.

    """

    name: str
    address: str
    instances: Callable[..., QuerySet[Instance]]
    studies: Callable[[], QuerySet[Study]] | None = None

    def find_instances(self) -> QuerySet[Instance]:
        """Return the instances that it may see, by its studies: of an archive of any size, quickly."""
        found = self.instances()
        if self.studies is None or not (studies := self.studies()).query.where:
            return found
        return found.filter(series__study__in=studies)


def person_reader(user: Any, address: str) -> Reader:
    """Return a person as a reader."""
    return Reader(
        f"user:{user.get_username()}", address, partial(visible_instances, user), partial(visible_studies, user)
    )


def is_open() -> bool:
    """Return whether anybody may read: on a private machine, until the first account or token exists."""
    return not (settings.IS_PUBLIC or get_user_model().objects.exists() or ApiToken.objects.exists())


def reader_of(request: HttpRequest) -> Reader:
    """Return the reader behind an HTTP request: a session, or a token.

    Raises:
        UnknownReaderError, UnknownTokenError: the request is not authenticated.

    """
    address = client_address(request)
    if request.user.is_authenticated:
        return person_reader(request.user, address)
    if request.headers.get("Authorization"):
        token = authenticate_token(request)
        if token.user:
            return person_reader(token.user, address)
        source = f"http:{token.name}"
        return Reader(source, address, partial(program_instances, source, token.group))
    if not is_open():
        raise UnknownReaderError
    return Reader("http:anybody", address, all_instances)


def entity_reader(title: str, address: str) -> Reader:
    """Return the reader of an association that was accepted."""
    source = f"dicom:{title}"
    entity = ApplicationEntity.objects.filter(pk=title).select_related("group").first()
    if entity is None and is_open():
        return Reader(source, address, all_instances)
    return Reader(source, address, partial(program_instances, source, entity.group if entity else None))


def reads(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Pass the reader to a view; answer 401 to unauthenticated requests."""

    @wraps(view)
    def checked(request: HttpRequest, **values: Any) -> HttpResponseBase:
        if request.method not in ("GET", "HEAD"):
            return HttpResponse(status=405, headers={"Allow": "GET, HEAD"})
        try:
            reader = reader_of(request)
        except (UnknownReaderError, UnknownTokenError):
            detail = {"detail": "log in, or send a token: Authorization: Bearer ..."}
            return JsonResponse(detail, status=401, headers={"WWW-Authenticate": 'Bearer realm="results"'})
        return view(request, reader, **values)

    return checked
