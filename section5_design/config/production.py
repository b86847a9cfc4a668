"""What the production profile asks for. It refuses to start with anything missing, default or unencrypted."""

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from django.core.exceptions import ImproperlyConfigured

FILES = ("TLS_CERTIFICATE", "TLS_KEY", "MASTER_KEY_FILE", "SIGNING_KEY_FILE")
SECRET_FILES = ("TLS_KEY", "MASTER_KEY_FILE", "SIGNING_KEY_FILE")


def check(environment: Mapping[str, str]) -> None:
    """Look at the environment.

    Raises:
        ImproperlyConfigured: something is not as a server for patients' data must be; all of it is named.

    """
    if found := list(faults(environment)):
        raise ImproperlyConfigured("the production profile does not start: " + "; ".join(found))


def faults(environment: Mapping[str, str]) -> Iterator[str]:
    """What is wrong, and what to do."""
    given = {name: environment.get(name, "") for name in (*FILES, "SECRET_KEY", "ALLOWED_HOSTS")}
    if len(given["SECRET_KEY"]) < 50:
        yield "SECRET_KEY must be 50 characters or more (openssl rand -base64 48)"
    if not given["ALLOWED_HOSTS"] or "*" in given["ALLOWED_HOSTS"]:
        yield "ALLOWED_HOSTS must name this server's hosts"
    if environment.get("MASTER_KEY"):
        given.pop("MASTER_KEY_FILE")
    for name in FILES:
        if name in given:
            yield from faults_of_file(name, given[name])
    yield from faults_of_database(environment.get("DATABASE_URL", ""))
    yield from faults_of_broker(environment.get("BROKER_URL", ""))
    for name in ("STORAGE_URL", "AWS_ENDPOINT_URL"):
        if environment.get(name, "").startswith("http:"):
            yield f"{name} must be encrypted on its way: https"


def faults_of_file(name: str, path: str) -> Iterator[str]:
    """A file must be there; one with a secret, for its owner alone."""
    if not path or not Path(path).is_file():
        yield f"{name} must name a file that is there"
    elif name in SECRET_FILES and Path(path).stat().st_mode & (stat.S_IRWXO | stat.S_IWGRP):
        yield f"{name}: others may read {path} (chmod 640)"


def faults_of_database(url: str) -> Iterator[str]:
    """PostgreSQL: a certificate that is checked for its host, and a password of one's own."""
    parts = urlsplit(url)
    if not parts.hostname or parts.hostname.startswith(("/", "%2f", "%2F")):
        if not url:
            yield "DATABASE_URL must name a PostgreSQL"
        return  # a Unix socket crosses no network
    options = parse_qs(parts.query)
    if options.get("sslmode") != ["verify-full"] or not options.get("sslrootcert"):
        yield "DATABASE_URL must end with ?sslmode=verify-full&sslrootcert=FILE"
    if parts.password in (None, "", "postgres", parts.username):
        yield "DATABASE_URL must hold a password that is no default"


def faults_of_broker(url: str) -> Iterator[str]:
    """RabbitMQ over TLS, and not as guest."""
    parts = urlsplit(url)
    if parts.scheme != "amqps":
        yield "BROKER_URL must be amqps://user:password@host:5671//"
    elif parts.password in (None, "", "guest", parts.username):
        yield "BROKER_URL must hold a password that is no default"
