"""The shop of packer/application, from outside: what it needs of AWS, and the page that it serves.

    prepare(instance)
    instance.start()
    assert_served(instance.wait_for_page())
"""

import sqlite3
from pathlib import Path

from .images import filesystem

GREETING = "Grüezi, Nordlicht & Söhne"
ARTICLE = "Kettle, cast iron, 1.2 l"
TOKEN = "tok-4f9d1c77b2"
TAGS = {"app": "shop", "role": "data"}

USER_DATA = """\
#ingot
version: 1
values: { env: prod }
"""


def database(path: Path, article: str = ARTICLE) -> bytes:
    """The shop's articles, as its backup would hold them."""
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("create table articles (name text not null, price_cents integer not null)")
        connection.execute("insert into articles values (?, ?)", (article, 4900))
    connection.close()
    return path.read_bytes()


def prepare(instance, *, greeting: str = GREETING, article: str = ARTICLE) -> str:
    """Puts the secret, the parameter and the snapshot there. The snapshot's id."""
    instance.aws.secret("prod/shop/web", {"greeting": greeting})
    instance.aws.parameter("/prod/shop/token", TOKEN, type="SecureString")
    content = database(instance.directory / "shop.db", article)
    image = filesystem(instance.directory / "shop.img", "ext4", {"shop.db": content})
    return instance.snapshot(image, TAGS)
