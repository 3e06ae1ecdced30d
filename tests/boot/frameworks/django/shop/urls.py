from django.http import HttpResponse
from django.urls import path
from eb_sqs_worker.urls import urlpatterns as eb_sqs_urlpatterns

from shop.tasks import resize


def order(request, name):
    resize(name=name, widths=[320, 640])
    return HttpResponse()


urlpatterns = [path("order/<name>/", order)]
urlpatterns += eb_sqs_urlpatterns
