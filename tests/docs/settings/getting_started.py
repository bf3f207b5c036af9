"""The packages of the frameworks are those of the extra ``test``."""

NOT_RUN = {"$ python3 -m venv .venv": "the test has an environment: this interpreter's"}
NOT_RUN["$ .venv/bin/pip install path/to/this/checkout flask"] = NOT_RUN["$ python3 -m venv .venv"]
NOT_RUN["$ source .venv/bin/activate"] = NOT_RUN["$ python3 -m venv .venv"]

NEEDS = {"Dash": "dash", "CherryPy": "cherrypy"}
