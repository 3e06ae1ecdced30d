import os

from eb_sqs_worker.decorators import task


def note(line):
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(line + "\n")


@task
def resize(**kwargs):
    note(f"resize {kwargs['name']} {kwargs['widths']}")


@task(task_name="nightly")
def nightly():
    note("nightly")
