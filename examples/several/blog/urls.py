from pathlib import Path

from django.contrib import admin
from django.http import HttpResponse
from django.shortcuts import redirect
from django.templatetags.static import static
from django.urls import path, reverse
from django.views.static import serve

STATIC = Path(__file__).parent / "staticfiles"


def index(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    link = f'<link rel="stylesheet" href="{static("admin/css/base.css")}">'
    return HttpResponse(f'{link} Visits: {request.session["visits"]} <a href="{reverse("old")}">An old page</a>')


def old(request):
    return redirect("index")


urlpatterns = [
    path("", index, name="index"),
    path("old/", old, name="old"),
    path("admin/", admin.site.urls),
    path("static/<path:path>", serve, {"document_root": STATIC}),
]
