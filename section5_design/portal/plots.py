"""Small plots as SVG: bars, drawn by the server, so that they are there without a script too."""

from collections.abc import Sequence

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

WIDTH, HEIGHT = 512, 120


def bars(values: Sequence[float], label: str) -> SafeString:
    """Bars from left to right; the label says in words what they show."""
    highest = max(values, default=0) or 1
    step = WIDTH / max(1, len(values))
    boxes = (
        (
            f"{place * step:.2f}",
            f"{HEIGHT - HEIGHT * value / highest:.2f}",
            f"{step:.2f}",
            f"{HEIGHT * value / highest:.2f}",
        )
        for place, value in enumerate(values)
        if value
    )
    return format_html(
        '<svg class="plot" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>',
        WIDTH,
        HEIGHT,
        label,
        format_html_join("", '<rect x="{}" y="{}" width="{}" height="{}"/>', boxes),
    )
