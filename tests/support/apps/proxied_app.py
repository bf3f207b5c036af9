"""The app behind the real proxies: a page with the usual links, and an echo of the request."""

import hashlib
import time
from pathlib import Path

from app_lint import linted
from flask import Flask, make_response, redirect, request, url_for

HOLD_TIMEOUT = 60  # seconds
EXAMPLES = Path(__file__).parents[3] / "examples"


def make_app():
    app = Flask(__name__, static_folder=EXAMPLES / "apps" / "tv_ws" / "static")

    @app.get("/")
    def index():
        return f'<script src="{url_for("static", filename="ws.js")}"></script> {request.args.get("stn", "")}'

    @app.get("/go")
    def go():
        return redirect(url_for("index"))

    @app.post("/form")
    def form():
        response = make_response(redirect(url_for("index"), 303))
        response.set_cookie("station", request.form["stn"], path=request.script_root + "/")
        return response

    @app.get("/absolute")
    def absolute():
        return url_for("index", _external=True)

    @app.post("/upload")
    def upload():
        return hashlib.sha256(request.get_data()).hexdigest()

    @app.get("/stream/<name>")
    def stream(name):
        """Send one half of the body, and the other half when the test has created the file *name*."""

        def halves():
            yield "first "
            deadline = time.monotonic() + HOLD_TIMEOUT
            while not Path(name).exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            yield "second"

        return halves(), {"Content-Type": "text/plain"}

    @app.route("/echo", methods=["GET", "POST"])
    @app.route("/<path:_>", methods=["GET", "POST"])
    def echo(_=""):
        return {key: value for key, value in request.environ.items() if isinstance(value, str)}

    app.url_map.merge_slashes = False
    # Flask reads wsgi.input without a size where wsgi.input_terminated is set. The validator rejects that.
    return linted(app, unlinted=["form", "upload"])
