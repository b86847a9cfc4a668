"""Settings, from the environment.

DATABASE_URL    a PostgreSQL; `main.py` starts one of its own where this is not set
BROKER_URL      a RabbitMQ, amqp://user:password@host//; else Celery's filesystem transport, for one machine
STORAGE_URL     where objects lie: file:///folder or s3://bucket/prefix; else a folder in DATA_FOLDER
DATA_FOLDER     spool, objects and broker of one machine; `section5_design/data` unless named
ANALYSIS        the function that makes a result of a file, by its dotted name; processing.analysis.analyse unless named
MAX_ATTEMPTS    tries of a job before it is quarantined; 4 unless named
TASK_SECONDS    how long a task may take before its process is killed; 120 unless named
LEASE_SECONDS   how long a claim holds without an end; must be more than TASK_SECONDS; 180 unless named
TASK_MEMORY_MB  memory of a task's process; 3000 unless named
MAX_CPU         load in percent of the cores over which a machine takes no new work; 400 unless named
MAX_MEMORY      percent over which a machine takes no new work; 90 unless named
SECRET_KEY      of Django; needed where ALLOWED_HOSTS is set
ALLOWED_HOSTS   names that clients call this server by; this machine alone unless named
PROFILE         `production` refuses to start with anything missing, default or unencrypted, and logs JSON
TLS_CERTIFICATE certificate (chain) of this server, PEM: then HTTP and DICOM speak TLS only
TLS_KEY         its private key, PEM (PKCS #8)
TLS_CLIENT_CA   the CA of clients' certificates; then DICOM peers must show one (mutual TLS); HTTP: `--client-ca`
BROKER_CA       the CA of the RabbitMQ's certificate, where BROKER_URL is amqps://
MASTER_KEY_FILE file with the master key, 64 hexadecimal digits; in DATA_FOLDER, and made there, but in production
MASTER_KEY      the master key itself, instead of a file
SIGNING_KEY_FILE  file with the Ed25519 key that signs receipts and the log's chain, PEM; made as the one above
DEIDENTIFY      `1`: images are de-identified (PS3.15, Annex E) before they are analysed; needs UID_SECRET
UID_SECRET      from which de-identified UIDs are derived, always the same way
TRUSTED_PROXIES networks of proxies whose X-Forwarded-For is believed, with commas between; none unless named
DAILY_GB        what one person may send in 24 hours; 500 unless named
"""

import os
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from config.logs import logging_settings
from config.paths import anchor
from config.production import check

BASE_DIR = Path(__file__).parent.parent


def number(name: str, default: int) -> int:
    """A whole number out of the environment."""
    text = os.environ.get(name) or str(default)
    if not (text.isascii() and text.isdecimal()):
        raise ImproperlyConfigured(f"{name} must be a whole number, not {text!r}")
    return int(text)


anchor(os.environ)
PRODUCTION = os.environ.get("PROFILE") == "production"
if PRODUCTION:
    check(os.environ)

DATA_FOLDER = Path(os.environ.get("DATA_FOLDER") or BASE_DIR / "data").resolve()
SPOOL_FOLDER = DATA_FOLDER / "spool"
ARRIVING_FOLDER = DATA_FOLDER / "arriving"  # uploads that may be resumed
STORAGE_URL = os.environ.get("STORAGE_URL") or f"file://{DATA_FOLDER / 'store'}"
BROKER_URL = os.environ.get("BROKER_URL") or "filesystem://"
if not BROKER_URL.startswith(("amqp://", "amqps://", "filesystem://")):
    raise ImproperlyConfigured("BROKER_URL must name a RabbitMQ: amqp://user:password@host:5672//")

ANALYSIS = os.environ.get("ANALYSIS") or "processing.analysis.analyse"
MAX_ATTEMPTS = number("MAX_ATTEMPTS", 4)
TASK_SECONDS = number("TASK_SECONDS", 120)
LEASE_SECONDS = number("LEASE_SECONDS", 180)
TASK_MEMORY_MB = number("TASK_MEMORY_MB", 3000)
try:
    TRUSTED_PROXIES = [ip_network(word) for word in os.environ.get("TRUSTED_PROXIES", "").replace(",", " ").split()]
except ValueError as error:
    raise ImproperlyConfigured(f"TRUSTED_PROXIES: {error}") from None
DAILY_GB = number("DAILY_GB", 500)
DEIDENTIFY = os.environ.get("DEIDENTIFY") == "1"
UID_SECRET = os.environ.get("UID_SECRET", "")
if DEIDENTIFY and not UID_SECRET:
    raise ImproperlyConfigured("DEIDENTIFY needs UID_SECRET: openssl rand -hex 32")
MAX_CPU = number("MAX_CPU", 400)
MAX_MEMORY = number("MAX_MEMORY", 90)
if LEASE_SECONDS <= TASK_SECONDS:
    raise ImproperlyConfigured(
        "LEASE_SECONDS must be more than TASK_SECONDS: a task that may still end keeps its lease"
    )

TLS_CERTIFICATE, TLS_KEY = os.environ.get("TLS_CERTIFICATE", ""), os.environ.get("TLS_KEY", "")
TLS_CLIENT_CA, BROKER_CA = os.environ.get("TLS_CLIENT_CA", ""), os.environ.get("BROKER_CA", "")
if bool(TLS_CERTIFICATE) != bool(TLS_KEY):
    raise ImproperlyConfigured("TLS_CERTIFICATE and TLS_KEY belong together; name both")
MASTER_KEY = os.environ.get("MASTER_KEY", "")
MASTER_KEY_FILE = os.environ.get("MASTER_KEY_FILE") or str(DATA_FOLDER / "keys" / "master")
SIGNING_KEY_FILE = os.environ.get("SIGNING_KEY_FILE") or str(DATA_FOLDER / "keys" / "signing.pem")

DEBUG = False
ALLOWED_HOSTS = [name.strip() for name in (os.environ.get("ALLOWED_HOSTS") or "localhost,127.0.0.1,[::1]").split(",")]
FOR_OTHERS = bool(os.environ.get("ALLOWED_HOSTS"))  # a server, which trusts nobody it does not know
SECRET_KEY = os.environ.get("SECRET_KEY") or ("" if os.environ.get("ALLOWED_HOSTS") else "for this machine alone")

DATABASES = {
    "default": dj_database_url.parse(
        os.environ.get("DATABASE_URL") or "postgresql:///postgres", conn_max_age=None, conn_health_checks=True
    )
}
if not DATABASES["default"]["ENGINE"].endswith(".postgresql"):
    raise ImproperlyConfigured("DATABASE_URL must name a PostgreSQL: postgresql://user:password@host:5432/name")
# A line that is cut says nothing: without these a process would wait for a quarter of an hour.
LINE = {"connect_timeout": 5, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 2}
LINE["tcp_user_timeout"] = 20_000  # milliseconds
DATABASES["default"]["OPTIONS"] = {**LINE, **DATABASES["default"].get("OPTIONS", {})}

INSTALLED_APPS = [
    *("archive", "audit", "ingest", "processing", "portal"),  # before Django's own, so that its words are the portal's
    *("django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"),
    *("django.contrib.messages", "django.contrib.staticfiles", "axes"),
]
MIDDLEWARE = [
    "portal.request_log.RequestLog",
    "portal.security.PlacesForBodies",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "portal.security.ContentSecurityPolicy",
    "portal.security.SessionsEnd",
    "axes.middleware.AxesMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # assets come out of the packages as they are; nothing is collected
LANGUAGES = [("en", "English"), ("es", "Español")]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "studies"
LOGOUT_REDIRECT_URL = "login"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AXES_FAILURE_LIMIT = 5  # wrong passwords of a name from an address, and then a pause
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_TEMPLATE = "portal/locked.html"
AXES_VERBOSE = False
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
SESSION_COOKIE_AGE = 30 * 60  # seconds without a request, at most a shift: see portal/security.py
SESSION_SAVE_EVERY_REQUEST = True
LONGEST_SESSION = 8 * 3600  # seconds
# Named hosts are a server for others, which speaks TLS or stands behind it; cookies then never travel without it.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = FOR_OTHERS or bool(TLS_CERTIFICATE)
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
# A header that says so is believed only where a proxy speaks TLS; where this server does, anybody could send it.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if FOR_OTHERS and not TLS_CERTIFICATE else None
SECURE_HSTS_SECONDS = 365 * 86400 if PRODUCTION else 0
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGGING = logging_settings(as_json=PRODUCTION)
