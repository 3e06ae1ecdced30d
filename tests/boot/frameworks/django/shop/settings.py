"""The settings of a project that uses django-eb-sqs-worker as its README says."""

import os

SECRET_KEY = "of the tests"
DEBUG = False
ALLOWED_HOSTS = ["localhost"]
ROOT_URLCONF = "shop.urls"
WSGI_APPLICATION = "shop.wsgi.application"
INSTALLED_APPS = ["eb_sqs_worker", "shop"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware"]

AWS_EB_DEFAULT_REGION = "eu-central-1"
AWS_ACCESS_KEY_ID = os.environ["AWS_ACCESS_KEY_ID"]
AWS_SECRET_ACCESS_KEY = os.environ["AWS_SECRET_ACCESS_KEY"]
AWS_EB_DEFAULT_QUEUE_NAME = "jobs"
AWS_EB_HANDLE_SQS_TASKS = True
