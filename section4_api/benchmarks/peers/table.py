"""What the peers share: settings of a small Django project on the same table, and the arithmetic."""

import os
import statistics
from collections.abc import Sequence

import dj_database_url

COLUMNS = (
    "id",
    "device_name",
    "average_before_normalization",
    "average_after_normalization",
    "data_size",
    "raw_data",
    "created_at",
    "updated_at",
)
WITHOUT_DATA = tuple(name for name in COLUMNS if name != "raw_data")


def configure(name: str, apps: Sequence[str], keep_connections: bool) -> None:
    """Django, configured in one file."""
    import django
    from django.conf import settings

    settings.configure(
        ROOT_URLCONF=name,
        SECRET_KEY="benchmark",
        ALLOWED_HOSTS=["*"],
        DEBUG=False,
        USE_TZ=True,
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", *apps],
        MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
        DATABASES={
            "default": dj_database_url.parse(
                os.environ["DATABASE_URL"],
                conn_max_age=None if keep_connections else 0,
                conn_health_checks=keep_connections,
            )
        },
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        REST_FRAMEWORK={
            "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
            "UNAUTHENTICATED_USER": None,
        },
    )
    django.setup()


def computed(rows: list[str]) -> tuple[float, float, int]:
    """Averages and size, as anyone writes them."""
    numbers = [float(word) for row in rows for word in row.split()]
    most = max(numbers)
    return statistics.fmean(numbers), statistics.fmean(number / most for number in numbers), len(numbers)
