#!/usr/bin/python3
"""A small shop: one page, with a greeting from its configuration and the articles of its database.

shop.py CONFIGURATION, whose keys are: greeting, instance, database, and perhaps address and port.
`/health` is 200 when all that the page needs is there.
"""

import html
import json
import os
import socketserver
import sqlite3
import sys

PAGE = """<!doctype html>
<meta charset="utf-8">
<title>Shop</title>
<h1>{greeting}</h1>
<ul>
{articles}
</ul>
<footer>{instance}</footer>
"""


def token():
    """What other services know this one by: never in a file of its own, nor in the environment."""
    with open(os.path.join(os.environ["CREDENTIALS_DIRECTORY"], "shop-token")) as file:
        return file.read().strip()


def articles(database):
    connection = sqlite3.connect("file:{}?mode=ro".format(database), uri=True)
    try:
        return connection.execute("select name, price_cents from articles order by name").fetchall()
    finally:
        connection.close()


def page(configuration):
    lines = ["<li>{}: {:.2f}</li>".format(html.escape(name), cents / 100) for name, cents in articles(configuration["database"])]
    return PAGE.format(
        greeting=html.escape(configuration["greeting"]),
        articles="\n".join(lines),
        instance=html.escape(configuration["instance"]),
    )


class Visit(socketserver.StreamRequestHandler):
    """One request, one answer."""

    def handle(self):
        request = self.rfile.readline(4096).decode("latin-1").split()
        while self.rfile.readline(4096).strip():
            pass
        try:
            status, body = self.answer(request[1] if len(request) == 3 else "")
        except (OSError, KeyError, sqlite3.Error) as error:
            status, body = "503 Service Unavailable", "{}\n".format(error)
        content = body.encode()
        head = "HTTP/1.1 {}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n"
        self.wfile.write(head.format(status, len(content)).encode() + content)

    def answer(self, path):
        if path == "/":
            return "200 OK", page(self.server.configuration)
        if path == "/health":
            page(self.server.configuration)
            return "200 OK", "well\n" if token() else "no token\n"
        return "404 Not Found", "there is no such page\n"


class Shop(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main(path):
    with open(path) as file:
        configuration = json.load(file)
    address = (configuration.get("address", ""), configuration.get("port", 80))
    with Shop(address, Visit) as server:
        server.configuration = configuration
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
