"""Checks of the production profile: it refuses to start with a missing, default or unencrypted setting."""

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from django.core.exceptions import ImproperlyConfigured

FILES = ("TLS_CERTIFICATE", "TLS_KEY", "MASTER_KEY_FILE", "SIGNING_KEY_FILE")
SECRET_FILES = ("TLS_KEY", "MASTER_KEY_FILE", "SIGNING_KEY_FILE")


def check(environment: Mapping[str, str]) -> None:
    """Check the environment.

    Raises:
        ImproperlyConfigured: a setting is unsafe for patient data; the message names every one.

    """
    if found := list(find_faults(environment)):
        raise ImproperlyConfigured("the production profile does not start: " + "; ".join(found))


def find_faults(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield each fault and its remedy."""
    given = {name: environment.get(name, "") for name in (*FILES, "SECRET_KEY", "ALLOWED_HOSTS")}
    if len(given["SECRET_KEY"]) < 50:
        yield "SECRET_KEY must be 50 characters or more (openssl rand -base64 48)"
    if not given["ALLOWED_HOSTS"] or "*" in given["ALLOWED_HOSTS"]:
        yield "ALLOWED_HOSTS must name this server's hosts"
    if environment.get("MASTER_KEY"):
        given.pop("MASTER_KEY_FILE")
    for name in FILES:
        if name in given:
            yield from check_file(name, given[name])
    yield from check_database("DATABASE_URL", environment.get("DATABASE_URL", ""))
    if environment.get("STANDBY_URL"):
        yield from check_database("STANDBY_URL", environment["STANDBY_URL"])
    for url in environment.get("BROKER_URL", "").split(";"):
        yield from check_broker(url)
    for name in ("STORAGE_URL", "AWS_ENDPOINT_URL"):
        if environment.get(name, "").startswith("http:"):
            yield f"{name} must use https"


def check_file(name: str, path: str) -> Iterator[str]:
    """Check that a file exists and that a secret is readable by its owner only."""
    if not path or not Path(path).is_file():
        yield f"{name} must name an existing file"
    elif name in SECRET_FILES and Path(path).stat().st_mode & (stat.S_IRWXO | stat.S_IWGRP):
        yield f"{name}: {path} is readable by others (chmod 640)"


def check_database(name: str, url: str) -> Iterator[str]:
    """Check that PostgreSQL's certificate is verified and its password is not a default."""
    parts = urlsplit(url)
    if not parts.hostname or parts.hostname.startswith(("/", "%2f", "%2F")):
        if not url:
            yield f"{name} must name a PostgreSQL server"
        return  # a Unix socket crosses no network
    options = parse_qs(parts.query)
    if options.get("sslmode") != ["verify-full"] or not options.get("sslrootcert"):
        yield f"{name} must end with ?sslmode=verify-full&sslrootcert=FILE"
    if parts.password in (None, "", "postgres", parts.username):
        yield f"{name} must contain a password that is not a default"


def check_broker(url: str) -> Iterator[str]:
    """Check that RabbitMQ is used over TLS and not as guest."""
    parts = urlsplit(url)
    if parts.scheme != "amqps":
        yield "BROKER_URL must be amqps://user:password@host:5671//"
    elif parts.password in (None, "", "guest", parts.username):
        yield "BROKER_URL must contain a password that is not a default"
