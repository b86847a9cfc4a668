"""Small plots as SVG, drawn by the server, so that they work without a script."""

from collections.abc import Sequence

from django.utils.formats import number_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

WIDTH, HEIGHT = 512, 120


def table(names: Sequence[str], values: Sequence[float], heads: tuple[str, str]) -> SafeString:
    """Build a collapsed table of the same values; zeros are omitted."""
    rows = ((name, number_format(f"{value:.6g}")) for name, value in zip(names, values, strict=True) if value)
    body = format_html_join("", '<tr><th scope="row">{}</th><td class="number">{}</td></tr>', rows)
    head = format_html('<tr><th scope="col">{}</th><th scope="col" class="number">{}</th></tr>', *heads)
    shell = "<details><summary>{}</summary><table><thead>{}</thead><tbody>{}</tbody></table></details>"
    return format_html(shell, _("As a table"), head, body)


def bars(values: Sequence[float], label: str) -> SafeString:
    """Draw bars from left to right; the label describes them."""
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
