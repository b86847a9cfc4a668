"""Settings, from the environment.

PROFILE             development (the default): open, for this machine only; production: tokens, TLS, no defaults
DATABASE_URL        a PostgreSQL, 14 to 18; development starts one of its own where this is not set
SECRET_KEY          production: at least 50 characters; `python -c "import secrets; print(secrets.token_urlsafe(50))"`
ALLOWED_HOSTS       production: the names that clients call this server by, separated by commas
BEHIND_PROXY        1: a proxy in front ends TLS, and sets X-Forwarded-Proto and X-Forwarded-For
REQUESTS_PER_MINUTE of one client, in each worker process; 6000 unless named
LOG_FILE            where the log goes; standard error unless named
LOG_BODIES          how many bytes of each request's body to log; 0 unless named
"""

import os
from pathlib import Path
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).parent.parent


def number(name: str, default: int) -> int:
    """A whole number out of the environment."""
    text = os.environ.get(name) or str(default)
    if not (text.isascii() and text.isdecimal()):
        raise ImproperlyConfigured(f"{name} must be a whole number, not {text!r}")
    return int(text)


PROFILE = os.environ.get("PROFILE") or "development"
if PROFILE not in ("development", "production"):
    raise ImproperlyConfigured(f"PROFILE must be development or production, not {PROFILE!r}")
PRODUCTION = PROFILE == "production"

missing = [name for name in ("SECRET_KEY", "ALLOWED_HOSTS", "DATABASE_URL") if not os.environ.get(name)]
if PRODUCTION and missing:
    raise ImproperlyConfigured(f"the production profile needs {', '.join(missing)} in the environment")

DEBUG = False  # Django's own error pages are HTML and show settings; ours are problem documents, in either profile
SECRET_KEY = os.environ.get("SECRET_KEY") or "development only, for this machine alone"
ALLOWED_HOSTS = [name.strip() for name in (os.environ.get("ALLOWED_HOSTS") or "localhost,127.0.0.1,[::1]").split(",")]
if PRODUCTION and len(SECRET_KEY) < 50:
    raise ImproperlyConfigured("SECRET_KEY must have at least 50 characters")

# A connection stays with its thread, and is looked at before each request that uses it.
DATABASES = {
    "default": dj_database_url.parse(
        os.environ.get("DATABASE_URL") or "postgresql:///postgres", conn_max_age=None, conn_health_checks=True
    )
}
if not DATABASES["default"]["ENGINE"].endswith(".postgresql"):
    raise ImproperlyConfigured("DATABASE_URL must name a PostgreSQL: postgresql://user:password@host:5432/name")
DATABASES["default"]["ENGINE"] = "config.postgresql"
DATABASES["default"]["OPTIONS"] = {
    "connect_timeout": 5,  # seconds, as the next two: a line that is cut is noticed within a minute
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "tcp_user_timeout": 30_000,  # milliseconds
    **DATABASES["default"].get("OPTIONS", {}),
}

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "elements",
]

MIDDLEWARE = [
    "elements.request_log.RequestLog",  # first, so that it sees every answer
    "config.middleware.ContentSecurityPolicy",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
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

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
USE_TZ = True
TIME_ZONE = "UTC"
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # served out of the installed packages; nothing to collect
DATA_UPLOAD_MAX_MEMORY_SIZE = 1 << 20  # of the admin's forms; the API has its own limits, in elements/payloads.py

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

BEHIND_PROXY = os.environ.get("BEHIND_PROXY") == "1"
REQUESTS_PER_MINUTE = number("REQUESTS_PER_MINUTE", 6000)
LOG_BODIES = number("LOG_BODIES", 0)
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if PRODUCTION:
    SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = ["^live$", "^ready$"]  # asked by the machine that runs us, without TLS
    SECURE_HSTS_SECONDS = 365 * 24 * 3600
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    if BEHIND_PROXY:
        SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["elements.access.TokenAuthentication"] if PRODUCTION else [],
    "DEFAULT_PERMISSION_CLASSES": [
        "elements.access.TokenScope" if PRODUCTION else "rest_framework.permissions.AllowAny"
    ],
    "DEFAULT_THROTTLE_CLASSES": ["elements.access.PerMinute"] if PRODUCTION else [],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "elements.renderers.Negotiation",
    "DEFAULT_RENDERER_CLASSES": ["elements.renderers.JSONRenderer"],
    "DEFAULT_FILTER_BACKENDS": ["elements.filters.StrictFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_METADATA_CLASS": None,
    "EXCEPTION_HANDLER": "elements.problems.handle",
    "UNAUTHENTICATED_USER": None,
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Image processing results",
    "DESCRIPTION": (BASE_DIR / "elements" / "api.md").read_text(encoding="utf-8"),
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": ["elements.schema.finish"],
}

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "elements.request_log.JsonFormatter"}},
    "handlers": {
        "log": {"class": "logging.FileHandler", "filename": os.environ["LOG_FILE"], "formatter": "json"}
        if os.environ.get("LOG_FILE")
        else {"class": "logging.StreamHandler", "formatter": "json"}
    },
    "root": {"handlers": ["log"], "level": "WARNING"},
    "loggers": {
        "section4": {"level": "INFO"},
        "django": {"handlers": [], "level": "WARNING", "propagate": True},
        # The line of the request tells it: 4xx are no errors of ours.
        "django.request": {"level": "ERROR"},
        "django.security": {"level": "ERROR"},
        "django.server": {"handlers": ["log"], "level": "WARNING", "propagate": False},
    },
}
