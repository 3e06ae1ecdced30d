"""What the programs of the shop have in common. Settings come from the environment, as web.yaml and jobs.yaml give them."""

import os
import ssl
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
VERSION = (ROOT / "VERSION").read_text().strip()


def database():
    """A connection by $DATABASE_URL, encrypted."""
    import pg8000.native

    url = urlsplit(os.environ["DATABASE_URL"])
    context = ssl.create_default_context()
    # sslmode=require: encrypted, by whatever certificate.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return pg8000.native.Connection(
        unquote(url.username),
        password=unquote(url.password),
        host=url.hostname,
        port=url.port or 5432,
        database=url.path.lstrip("/"),
        ssl_context=context,
        timeout=10,
    )
