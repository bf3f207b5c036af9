"""A board of notes, in Bottle. The notes are in memory, so they are lost when the server stops."""

from pathlib import Path

from bottle import Bottle, redirect, request, static_file, template

app = Bottle()
notes = ["Milk", "Calibrate the rain gauge"]

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Notes</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{{app.get_url('css')}}">
<h1>Notes</h1>
<form method="post" action="{{app.get_url('add')}}">
  <input name="text" aria-label="A new note" placeholder="A new note" required autofocus><button>Add</button>
</form>
<ul>
% for note in reversed(notes):
  <li>{{note}}</li>
% end
</ul>
</html>
"""


@app.get("/", name="index")
def index():
    return template(PAGE, app=app, notes=notes)


@app.get("/notes.css", name="css")
def css():
    return static_file("notes.css", root=Path(__file__).parent)


@app.post("/add", name="add")
def add():
    notes.append(request.forms.getunicode("text"))
    redirect(app.get_url("index"), 303)
