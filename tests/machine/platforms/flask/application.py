import pathlib
import time
import zlib

from flask import Flask, Response, request
from flask_sock import Sock
from simple_websocket import ConnectionClosed

RELEASE = pathlib.Path(__file__).with_name("RELEASE").read_text().strip()
if RELEASE == "broken":
    raise RuntimeError("the catalog cannot be read")

application = Flask(__name__)
sock = Sock(application)


@application.route("/health")
def health():
    return "well\n"


@application.route("/", defaults={"path": ""}, methods=["GET", "POST"])
@application.route("/<path:path>", methods=["GET", "POST"])
def echo(path):
    body = request.get_data()
    time.sleep(float(request.headers.get("X-Wait", 0)))
    text = f"id={request.headers.get('X-Id', '-')} len={len(body)} crc={zlib.crc32(body)} gen={RELEASE}\n"
    return Response(text, mimetype="text/plain")


@sock.route("/ws")
def talk(ws):
    try:
        while True:
            ws.send(ws.receive())
    except ConnectionClosed:
        # Its thread has yet to confirm the end; the socket is closed when this returns.
        ws.thread.join(5)
