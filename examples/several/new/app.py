import sys
from importlib.metadata import version

from config import TITLE
from flask import Flask, redirect, render_template, request, session, url_for
from models import NOTES, Note

app = Flask(__name__)
app.secret_key = "change me"


@app.get("/")
def index():
    versions = f"Flask {version('flask')}, Werkzeug {version('werkzeug')}, Python {sys.version.split()[0]}"
    return render_template("index.html", title=TITLE, versions=versions, notes=NOTES, mine=session.get("mine", 0))


@app.post("/add")
def add():
    NOTES.append(Note(request.form["text"]))
    session["mine"] = session.get("mine", 0) + 1
    return redirect(url_for("index"))
