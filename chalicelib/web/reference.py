"""The page that shows the description: Swagger UI, served from here and from nowhere else.

Its files are those of swagger-ui-dist 5.35.0 (Apache-2.0, LICENSE and NOTICE beside them), byte by byte.
"""

from pathlib import Path

from chalicelib.web.http import HeaderValue

FOLDER = Path(__file__).parent / "swagger_ui"
# What the files of the package are, by sha256: `tests/web/test_reference.py` holds them against it.
PINNED = {
    "swagger-ui-bundle.js": "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2",
    "swagger-ui.css": "5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d",
}
MEDIA_TYPES = {
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "reference.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "reference.css": "text/css; charset=utf-8",
}
# Icons of the stylesheet are data. Nothing is run, read or sent that is not this service's own.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: dict[str, HeaderValue] = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
