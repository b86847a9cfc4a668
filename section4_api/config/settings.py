"""Settings, from the environment.

PROFILE             development (the default): no tokens, loopback only; production: tokens, TLS in front, no defaults
DATABASE_URL        a PostgreSQL, 14 to 18; development starts its own where this is not set
SECRET_KEY          production: at least 50 characters; `python -c "import secrets; print(secrets.token_urlsafe(50))"`
ALLOWED_HOSTS       production: the host names of this server, separated by commas
REQUEST_RATE        of one user over all processes, such as 600/min; unlimited unless set
PGOPTIONS           of each connection; the service sets statement_timeout and lock_timeout (config/wsgi.py)
LOG_FILE            where the log goes; standard error unless set
"""

import os
import re
from pathlib import Path
from typing import Any

import dj_database_url
import orjson
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).parent.parent

PROFILE = os.environ.get("PROFILE") or "development"
if PROFILE not in ("development", "production"):
    raise ImproperlyConfigured(f"PROFILE must be development or production, not {PROFILE!r}")
PRODUCTION = PROFILE == "production"

missing = [name for name in ("SECRET_KEY", "ALLOWED_HOSTS", "DATABASE_URL") if not os.environ.get(name)]
if PRODUCTION and missing:
    raise ImproperlyConfigured(f"the production profile needs {', '.join(missing)} in the environment")

DEBUG = False  # Django's debug pages are HTML and show settings; errors here are problem documents in both profiles
SECRET_KEY = os.environ.get("SECRET_KEY") or "for development on this machine only"
ALLOWED_HOSTS = [name.strip() for name in (os.environ.get("ALLOWED_HOSTS") or "localhost,127.0.0.1,[::1]").split(",")]
if PRODUCTION and len(SECRET_KEY) < 50:
    raise ImproperlyConfigured("SECRET_KEY must have at least 50 characters")

# Each thread keeps its connection, and checks it before each request that uses it.
database_url = os.environ.get("DATABASE_URL") or "postgresql:///postgres"
try:
    DATABASES = {"default": dj_database_url.parse(database_url, conn_max_age=None, conn_health_checks=True)}
except ValueError:
    DATABASES = {"default": {"ENGINE": ""}}
if not DATABASES["default"]["ENGINE"].endswith(".postgresql"):
    raise ImproperlyConfigured("DATABASE_URL must name a PostgreSQL: postgresql://user:password@host:5432/name")
DATABASES["default"]["ENGINE"] = "config.postgresql"
DATABASES["default"]["OPTIONS"] = {
    "connect_timeout": 5,  # seconds, as the next two: a lost connection is noticed within a minute
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "tcp_user_timeout": 30_000,  # milliseconds
    **DATABASES["default"].get("OPTIONS", {}),
}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "elements_cache"}}

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
    "knox",
    "elements",
]

MIDDLEWARE = [
    "elements.middleware.RequestLogMiddleware",  # early, so that it sees every response
    "elements.middleware.content_security_policy",
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
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # served from the installed packages, without collectstatic
DATA_UPLOAD_MAX_MEMORY_SIZE = 1 << 20  # for the admin's forms; elements/parsers.py limits the API's bodies

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

# Swagger UI sets styles inline and shows images as data.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'"
)
REQUEST_RATE = os.environ.get("REQUEST_RATE") or None
if REQUEST_RATE and not re.fullmatch("[0-9]+/(sec|min|hour|day)", REQUEST_RATE):
    raise ImproperlyConfigured(f"REQUEST_RATE must be a rate such as 600/min, not {REQUEST_RATE!r}")
REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "UNAUTHENTICATED_USER": None,
    "DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.UserRateThrottle"],
    "DEFAULT_THROTTLE_RATES": {"user": REQUEST_RATE},
    "DEFAULT_RENDERER_CLASSES": [
        "drf_orjson_renderer.renderers.ORJSONRenderer",
        "rest_framework.renderers.BrowsableAPIRenderer",
    ],
    "ORJSON_RENDERER_OPTIONS": (orjson.OPT_UTC_Z,),
    "DEFAULT_PARSER_CLASSES": ["elements.parsers.JSONParser"],
    "DEFAULT_FILTER_BACKENDS": ["elements.filters.FilterBackend"],
    "DEFAULT_PAGINATION_CLASS": "elements.pagination.KeysetPagination",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "elements.exceptions.exception_handler",
}
REST_KNOX = {"AUTH_HEADER_PREFIX": "Bearer", "TOKEN_TTL": None}

SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Image processing results",
    "DESCRIPTION": (BASE_DIR / "elements" / "api.md").read_text(encoding="utf-8"),
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/api/",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_PATCH": False,
    "COMPONENT_NO_READ_ONLY_REQUIRED": True,
    "POSTPROCESSING_HOOKS": ["elements.schema.close_components"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "validatorUrl": None},
}

if PRODUCTION:
    REST_FRAMEWORK |= {
        "DEFAULT_AUTHENTICATION_CLASSES": ["elements.permissions.BearerAuthentication"],
        "DEFAULT_PERMISSION_CLASSES": ["elements.permissions.ModelPermissions"],
        "DEFAULT_RENDERER_CLASSES": ["drf_orjson_renderer.renderers.ORJSONRenderer"],
        "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    }
    SPECTACULAR_SETTINGS |= {
        "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
        # A browser cannot send a token: whoever is logged in to the admin may read the page, too.
        "SERVE_AUTHENTICATION": [
            "elements.permissions.BearerAuthentication",
            "rest_framework.authentication.SessionAuthentication",
        ],
    }
    SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = ["^(live|ready|metrics)$"]  # probed on this machine, without TLS
    SECURE_HSTS_SECONDS = 365 * 24 * 3600
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True

LOG_FILE = os.environ.get("LOG_FILE")
try:
    Path(LOG_FILE or os.devnull).open("a").close()
except OSError as error:
    raise ImproperlyConfigured(f"LOG_FILE cannot be written: {LOG_FILE} ({error.strerror})") from None
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": "config.json_log.JsonFormatter",
            "fmt": "%(levelname)s %(name)s %(message)s",
            "rename_fields": {"levelname": "level", "name": "logger"},
            "timestamp": "time",
        }
    },
    "handlers": {
        "log": {"class": "logging.FileHandler", "filename": LOG_FILE, "formatter": "json"}
        if LOG_FILE
        else {"class": "logging.StreamHandler", "formatter": "json"}
    },
    "root": {"handlers": ["log"], "level": "WARNING"},
    "loggers": {
        "section4": {"level": "INFO"},
        "django": {"handlers": [], "level": "WARNING", "propagate": True},
        # The request's own line already says so: a 4xx is not an error of the server.
        "django.request": {"level": "ERROR"},
        "django.security": {"level": "CRITICAL"},
        "waitress.queue": {"level": "ERROR"},
    },
}
