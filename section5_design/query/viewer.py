"""Serve the OHIF viewer, which `main.py viewer` fetches, below /viewer/, and link to it."""

import mimetypes
import re
import secrets
from pathlib import Path
from urllib.parse import quote

import orjson
from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase
from django.urls import reverse

from accounts.readers import is_open
from archive.models import Study
from query.service import plain

# Its stylesheets are built by its scripts, and its decoders are WebAssembly in workers.
POLICY = (
    "default-src 'none'; script-src 'self' 'nonce-{nonce}' 'wasm-unsafe-eval' blob:; worker-src 'self' blob:;"
    " style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; font-src 'self' data:;"
    " connect-src 'self' blob: data:; manifest-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
CACHED = "public, max-age=31536000, immutable"
HASHED = re.compile(r"[.-][0-9a-f]{16,}\.|/[0-9a-f]{20}\.|\A[0-9a-f]{20}\.")


def viewer_folder() -> Path:
    """Return where the viewer is installed."""
    return Path(settings.DATA_FOLDER) / "viewer"


def viewer_url(study: Study) -> str:
    """Return the address that opens a study in the viewer; empty if it is not installed."""
    if not (viewer_folder() / "index.html").is_file():
        return ""
    return f"{reverse('viewer')}viewer?StudyInstanceUIDs={quote(study.uid)}"


def viewer(request: HttpRequest, name: str = "") -> HttpResponseBase:
    """Serve a file of the viewer; every other address is its page, which finds the study in it."""
    folder = viewer_folder().resolve()
    if request.method not in ("GET", "HEAD"):
        return HttpResponse(status=405, headers={"Allow": "GET, HEAD"})
    if not (folder / "index.html").is_file():
        return plain(404, "the viewer is not installed: main.py viewer")
    if name == "app-config.js":
        return HttpResponse(configuration(), content_type="text/javascript")
    path = (folder / name.replace("\0", "")).resolve()
    if path.is_file() and path.is_relative_to(folder) and path.name != "index.html":
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        headers = {"Cache-Control": CACHED if HASHED.search(name) else "no-cache"}
        return FileResponse(path.open("rb"), content_type=kind, headers=headers)
    if path.suffix in (".js", ".css", ".wasm", ".map", ".png", ".json"):
        return plain(404, "no such file")
    if not (request.user.is_authenticated or is_open()):
        return redirect_to_login(request.get_full_path())
    return page((folder / "index.html").read_text(encoding="utf-8"))


def page(text: str) -> HttpResponse:
    """Return the viewer's page: its scripts are admitted by a nonce."""
    nonce = secrets.token_urlsafe(16)
    text = text.replace("<script", f'<script nonce="{nonce}"')
    return HttpResponse(text, headers={"Content-Security-Policy": POLICY.format(nonce=nonce)})


def configuration() -> bytes:
    """Return the viewer's configuration: this server's DICOMweb, and nothing from elsewhere."""
    root = reverse("dicomweb").rstrip("/")
    source = {
        "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
        "sourceName": "dicomweb",
        "configuration": {
            "friendlyName": "This archive",
            "name": "dicomweb",
            "wadoUriRoot": root,
            "qidoRoot": root,
            "wadoRoot": root,
            "qidoSupportsIncludeField": True,
            "supportsReject": False,
            "imageRendering": "wadors",
            "thumbnailRendering": "wadors",
            "enableStudyLazyLoad": True,
            "supportsFuzzyMatching": False,
            "supportsWildcard": True,
            "bulkDataURI": {"enabled": True},
        },
    }
    document = {
        "routerBasename": reverse("viewer").rstrip("/"),
        "extensions": [],
        "modes": [],
        "customizationService": {},
        "showStudyList": True,
        "maxNumberOfWebWorkers": 3,
        "showWarningMessageForCrossOrigin": False,
        "showCPUFallbackMessage": False,
        "showLoadingIndicator": True,
        "strictZSpacingForVolumeViewport": True,
        "investigationalUseDialog": {"option": "never"},
        "maxNumRequests": {"interaction": 10, "thumbnail": 5, "prefetch": 5},
        "defaultDataSourceName": "dicomweb",
        "dataSources": [source],
    }
    return b"window.config = " + orjson.dumps(document) + b";\n"
