"""Settings, from the environment.

DATABASE_URL    a PostgreSQL; by default `main.py` starts one of its own
STANDBY_URL     a standby of that PostgreSQL, from which lists are read; default: none
BROKER_URL      a RabbitMQ, amqp://user:password@host//, or its nodes, separated by `;`; default: files, for one machine
STORAGE_URL     where objects are stored: file:///folder or s3://bucket/prefix; by default a folder in DATA_FOLDER
DATA_FOLDER     spool, objects and broker of one machine; default: `section5_design/data`
ANALYSIS        the function that analyses a file, by its dotted name; default: analysis.default.analyse
ANALYSES        TOML file in which further analyses are registered (see analysis/registry.py); default: none
GPU_SLOTS       analyses that may use a GPU of this machine at a time, in workers of the queue gpu; default: 1
MAX_ATTEMPTS    attempts at a job before it is quarantined; default: 4
TASK_SECONDS    time limit of a task, after which its process is killed; default: 120
LEASE_SECONDS   how long a claim is valid; must be more than TASK_SECONDS; default: 180
TASK_MEMORY_LIMIT_MB  memory limit of a worker process; default: 3000
MAX_CPU         load in percent of the cores above which a machine accepts no jobs; default: 400
MAX_MEMORY      memory in percent above which a machine accepts no jobs; default: 90
SECRET_KEY      Django's; required if ALLOWED_HOSTS is set
ALLOWED_HOSTS   host names of this server; by default only this machine can connect
PROFILE         `production` refuses to start with a missing, default or unencrypted setting, and logs JSON
TLS_CERTIFICATE certificate (chain) of this server, PEM: HTTP and DICOM then require TLS
TLS_KEY         its private key, PEM (PKCS #8)
TLS_CLIENT_CA   CA of the clients' certificates: DICOM clients must then present one (mutual TLS); HTTP: `--client-ca`
BROKER_CA       CA of the RabbitMQ's certificate, if BROKER_URL is amqps://
MASTER_KEY_FILE file with the master key, 64 hexadecimal digits; by default created in DATA_FOLDER, not in production
MASTER_KEY      the master key itself, instead of a file
SIGNING_KEY_FILE  file with the Ed25519 key that signs receipts and the audit chain, PEM; default as above
DEIDENTIFY      `1`: images are de-identified (PS3.15, Annex E) before analysis; requires UID_SECRET
UID_SECRET      the secret that de-identified UIDs are derived from
TRUSTED_PROXIES networks of proxies whose X-Forwarded-For is trusted, comma-separated; default: none
DICOM_PORT      the port of the receiver, as the portal tells it to people; default: 11112
CORS_ORIGINS    web applications that may read DICOMweb with a token, comma-separated: https://viewer.example.org
UPLOAD_QUOTA_GB what one person may send in 24 hours; default: 500
"""

import os
import re
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from config.logs import logging_settings
from config.paths import resolve_paths
from config.production import check

BASE_DIR = Path(__file__).parent.parent


def number(name: str, default: int) -> int:
    """Read a non-negative integer from the environment."""
    text = os.environ.get(name) or str(default)
    if not (text.isascii() and text.isdecimal()):
        raise ImproperlyConfigured(f"{name} must be a non-negative integer, not {text!r}")
    return int(text)


resolve_paths(os.environ)
PRODUCTION = os.environ.get("PROFILE") == "production"
if PRODUCTION:
    check(os.environ)

DATA_FOLDER = Path(os.environ.get("DATA_FOLDER") or BASE_DIR / "data").resolve()
SPOOL_FOLDER = DATA_FOLDER / "spool"
UPLOAD_FOLDER = DATA_FOLDER / "uploads"  # uploads that may be resumed
WORK_FOLDER = DATA_FOLDER / "work"  # decrypted files of analyses and deliveries, while these run
FORM_FOLDER = DATA_FOLDER / "forms"  # files of a form while it is parsed
MAX_FORM_MB = 512
STORAGE_URL = os.environ.get("STORAGE_URL") or f"file://{DATA_FOLDER / 'store'}"
BROKER_URL = os.environ.get("BROKER_URL") or "filesystem://"
if not BROKER_URL.startswith(("amqp://", "amqps://", "filesystem://")):
    raise ImproperlyConfigured("BROKER_URL must name a RabbitMQ: amqp://user:password@host:5672//")

ANALYSIS = os.environ.get("ANALYSIS") or "analysis.default.analyse"
ANALYSES = os.environ.get("ANALYSES", "")
GPU_SLOTS = number("GPU_SLOTS", 1)
MAX_ATTEMPTS = number("MAX_ATTEMPTS", 4)
TASK_SECONDS = number("TASK_SECONDS", 120)
LEASE_SECONDS = number("LEASE_SECONDS", 180)
TASK_MEMORY_LIMIT_MB = number("TASK_MEMORY_LIMIT_MB", 3000)
try:
    TRUSTED_PROXIES = [
        ip_network(network) for network in os.environ.get("TRUSTED_PROXIES", "").replace(",", " ").split()
    ]
except ValueError as error:
    raise ImproperlyConfigured(f"TRUSTED_PROXIES: {error}") from None
DICOM_PORT = number("DICOM_PORT", 11112)
CORS_ALLOWED_ORIGINS = os.environ.get("CORS_ORIGINS", "").replace(",", " ").split()
if any(not re.fullmatch(r"https?://[^/*]+", origin) for origin in CORS_ALLOWED_ORIGINS):
    raise ImproperlyConfigured("CORS_ORIGINS must name origins, such as https://viewer.example.org")
CORS_URLS_REGEX, CORS_ALLOW_METHODS = r"^/dicom-web/", ("GET", "HEAD", "POST", "OPTIONS")
CORS_EXPOSE_HEADERS = ("Warning",)
UPLOAD_QUOTA_GB = number("UPLOAD_QUOTA_GB", 500)
DEIDENTIFY = os.environ.get("DEIDENTIFY") == "1"
UID_SECRET = os.environ.get("UID_SECRET", "")
if DEIDENTIFY and not UID_SECRET:
    raise ImproperlyConfigured("DEIDENTIFY needs UID_SECRET: openssl rand -hex 32")
MAX_CPU = number("MAX_CPU", 400)
MAX_MEMORY = number("MAX_MEMORY", 90)
if LEASE_SECONDS <= TASK_SECONDS:
    raise ImproperlyConfigured("LEASE_SECONDS must be more than TASK_SECONDS: a running task must keep its lease")

TLS_CERTIFICATE, TLS_KEY = os.environ.get("TLS_CERTIFICATE", ""), os.environ.get("TLS_KEY", "")
TLS_CLIENT_CA, BROKER_CA = os.environ.get("TLS_CLIENT_CA", ""), os.environ.get("BROKER_CA", "")
if bool(TLS_CERTIFICATE) != bool(TLS_KEY):
    raise ImproperlyConfigured("set both TLS_CERTIFICATE and TLS_KEY, or neither")
MASTER_KEY = os.environ.get("MASTER_KEY", "")
MASTER_KEY_FILE = os.environ.get("MASTER_KEY_FILE") or str(DATA_FOLDER / "keys" / "master")
SIGNING_KEY_FILE = os.environ.get("SIGNING_KEY_FILE") or str(DATA_FOLDER / "keys" / "signing.pem")

DEBUG = False
ALLOWED_HOSTS = [name.strip() for name in (os.environ.get("ALLOWED_HOSTS") or "localhost,127.0.0.1,[::1]").split(",")]
IS_PUBLIC = bool(os.environ.get("ALLOWED_HOSTS"))  # reachable by others: anonymous access is never allowed
SECRET_KEY = os.environ.get("SECRET_KEY") or ("" if os.environ.get("ALLOWED_HOSTS") else "this machine only")

DATABASES = {
    "default": dj_database_url.parse(
        os.environ.get("DATABASE_URL") or "postgresql:///postgres", conn_max_age=None, conn_health_checks=True
    )
}
if not DATABASES["default"]["ENGINE"].endswith(".postgresql"):
    raise ImproperlyConfigured("DATABASE_URL must name a PostgreSQL: postgresql://user:password@host:5432/name")
DATABASES["default"]["ENGINE"] = "core.postgresql"
# Without these, a process would wait on a broken connection for a quarter of an hour.
TCP_OPTIONS = {"connect_timeout": 3, "keepalives_idle": 4, "keepalives_interval": 2, "keepalives_count": 3}
TCP_OPTIONS["tcp_user_timeout"] = 10_000  # milliseconds; also of a connection attempt
DATABASES["default"]["OPTIONS"] = {**TCP_OPTIONS, **DATABASES["default"].get("OPTIONS", {})}
STANDBY_URL = os.environ.get("STANDBY_URL", "")
DATABASE_ROUTERS = ["core.standby.Router"] if STANDBY_URL else []
if STANDBY_URL:
    DATABASES["standby"] = dj_database_url.parse(STANDBY_URL, conn_max_age=None, conn_health_checks=True)
    if not DATABASES["standby"]["ENGINE"].endswith(".postgresql"):
        raise ImproperlyConfigured("STANDBY_URL must name a PostgreSQL: postgresql://user:password@host:5432/name")
    QUICK = {**TCP_OPTIONS, "connect_timeout": 2, "tcp_user_timeout": 3_000}  # the primary can answer instead
    DATABASES["standby"]["OPTIONS"] = {**QUICK, **DATABASES["standby"].get("OPTIONS", {})}

INSTALLED_APPS = [
    # before Django's own, so that the portal's translations take precedence
    *("core", "audit", "archive", "accounts", "jobs", "analysis", "ingest", "uploads", "delivery", "priors"),
    *("query", "portal"),
    *("django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"),
    *("django.contrib.messages", "django.contrib.staticfiles", "axes", "corsheaders"),
]
MIDDLEWARE = [
    "core.request_log.RequestLog",
    "corsheaders.middleware.CorsMiddleware",
    "archive.middleware.ObjectErrors",
    "core.security.RequestBodyLimiter",
    "django.middleware.security.SecurityMiddleware",
    "ingest.middleware.StowShortcut",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.middleware.RecordWrites",
    "accounts.middleware.BodySizeLimit",  # before the CSRF check, which parses the body
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "core.security.ContentSecurityPolicy",
    "core.security.NoStore",
    "core.security.SessionTimeout",
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
FILE_UPLOAD_TEMP_DIR = FORM_FOLDER  # on the data volume: a container's /tmp is memory
SILENCED_SYSTEM_CHECKS = ["files.E001"]  # `main.py web` creates that folder
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # assets are served from the packages; nothing is collected
LANGUAGES = [("en", "English"), ("es", "Español")]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "studies"
LOGOUT_REDIRECT_URL = "login"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AXES_FAILURE_LIMIT = 5  # failed logins of a name from an address until it is locked
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_TEMPLATE = "portal/locked.html"
AXES_VERBOSE = False
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
SESSION_COOKIE_AGE = 30 * 60  # seconds of inactivity; SessionTimeout extends it
MAX_SESSION_SECONDS = 8 * 3600  # seconds
# A public server uses TLS itself or through a proxy; cookies are then never sent without it.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = IS_PUBLIC or bool(TLS_CERTIFICATE)
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
# The header is trusted only behind a TLS proxy; a client of this server's own TLS could forge it.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if IS_PUBLIC and not TLS_CERTIFICATE else None
SECURE_HSTS_SECONDS = 365 * 86400 if PRODUCTION else 0
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGGING = logging_settings(as_json=PRODUCTION)
