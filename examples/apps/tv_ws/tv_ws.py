"""Weather stations, in Flask: the temperatures of one day (sample data), and a cookie for the user's own station.

The app does not know where it is mounted. `url_for` makes every URL, in the templates too, and the script reads the URL
of its data from the page.
"""

import csv
from pathlib import Path

from flask import Flask, abort, redirect, render_template, request, url_for

app = Flask(__name__)

with (Path(__file__).parent / "readings.csv").open(encoding="utf-8", newline="") as file:
    day = list(csv.DictReader(file))
hours = [row.pop("hour") for row in day]
readings = {station: [float(row[station]) for row in day] for station in day[0]}  # °C, one for each hour


def known(station):
    return station if station in readings else abort(404, f"There is no station {station!r}.")


@app.get("/")
def index():
    station = request.args.get("stn") or request.cookies.get("station") or next(iter(readings))
    return render_template("index.html", station=known(station), stations=readings)


@app.get("/readings/<station>")
def series(station):
    return {"station": known(station), "hours": hours, "celsius": readings[station]}


@app.get("/stations")
def stations():
    return render_template("stations.html", stations=readings)


@app.post("/remember")
def remember():
    response = redirect(url_for("index"))
    response.set_cookie("station", known(request.form["station"]), path=url_for("index"), samesite="Lax")
    return response
