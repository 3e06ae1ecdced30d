#!/usr/bin/python3
"""A small shop: one page, with a greeting from its configuration and the articles of its database.

shop.py CONFIGURATION, a file of JSON: greeting, instance, database, and perhaps address and port. `/health` is 200 only if
all that the page and its partners need is there. Imports little, for it is to serve soon; runs with Python 3.9 and newer.
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

HEAD = "HTTP/1.1 {}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n"

LINE_LIMIT = 8192  # bytes of a line of a request
LINES_LIMIT = 100


class NotReady(Exception):
    """Something is missing. The message names it, and never contains a secret."""


def token():
    """The token that identifies this service to others. It is neither in a file of the shop nor in the environment."""
    try:
        with open(os.path.join(os.environ["CREDENTIALS_DIRECTORY"], "shop-token")) as file:
            return file.read().strip()
    except (KeyError, OSError):
        return ""


def articles(database):
    try:
        connection = sqlite3.connect("file:{}?mode=ro".format(database), uri=True)
        try:
            return connection.execute("select name, price_cents from articles order by name").fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise NotReady("the database cannot be read: {}".format(error))


def page(configuration):
    lines = []
    for name, cents in articles(configuration["database"]):
        lines.append("<li>{}: {:.2f}</li>".format(html.escape(name), cents / 100))
    return PAGE.format(
        greeting=html.escape(configuration["greeting"]),
        articles="\n".join(lines),
        instance=html.escape(configuration["instance"]),
    )


class Visit(socketserver.StreamRequestHandler):
    """One request, one answer."""

    timeout = 10  # seconds that a visitor may be silent

    def handle(self):
        try:
            request = self.rfile.readline(LINE_LIMIT).decode("latin-1").split()
            for _ in range(LINES_LIMIT):
                if not self.rfile.readline(LINE_LIMIT).strip():
                    break
        except OSError:
            return
        method, path = (request[0], request[1].split("?")[0]) if len(request) == 3 else ("", "")
        try:
            status, body = self.answer(method, path)
        except NotReady as error:
            status, body = "503 Service Unavailable", "{}\n".format(error)
        content = body.encode()
        head = HEAD.format(status, len(content)).encode()
        self.wfile.write(head if method == "HEAD" else head + content)

    def answer(self, method, path):
        if method not in ("GET", "HEAD"):
            return "405 Method Not Allowed", "only GET and HEAD\n"
        if path == "/":
            return "200 OK", page(self.server.configuration)
        if path == "/health":
            page(self.server.configuration)
            if not token():
                raise NotReady("there is no token")
            return "200 OK", "well\n"
        return "404 Not Found", "there is no such page\n"


class Shop(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main(path):
    with open(path, encoding="utf-8") as file:
        configuration = json.load(file)
    address = (configuration.get("address", ""), configuration.get("port", 80))
    with Shop(address, Visit) as server:
        server.configuration = configuration
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
