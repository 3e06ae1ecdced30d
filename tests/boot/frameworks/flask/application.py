"""A worker's application in Flask, as it runs on Elastic Beanstalk: gunicorn serves `application`."""

import os

from flask import Flask, abort, request

application = Flask(__name__)


@application.post("/jobs")
def job():
    wanted = request.get_json()
    count = int(request.headers["X-Aws-Sqsd-Receive-Count"])
    if count <= wanted.get("fails", 0):
        raise RuntimeError("it fails on purpose")
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(f"{wanted['name']} {count} {request.headers.get('X-Aws-Sqsd-Attr-Color')} {len(request.data)} {request.remote_addr}\n")
    return "", 200


@application.post("/tasks/nightly")
def nightly():
    if request.data:
        abort(400)
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(f"{request.headers['X-Aws-Sqsd-Taskname']} {request.headers['X-Aws-Sqsd-Scheduled-At']}\n")
    return "", 200
