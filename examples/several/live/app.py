from gevent import monkey

monkey.patch_all()

import time  # noqa: E402

from bottle import Bottle, request, response  # noqa: E402

app = Bottle()
messages = []


@app.get("/")
def index():
    return '<a href="events">Events</a> <form method="post" action="say"><input name="text"></form>'


@app.get("/events")
def events():
    response.content_type = "text/event-stream"
    response.set_header("Cache-Control", "no-cache")
    position = len(messages)
    yield "data: hello\n\n"
    while True:
        for text in messages[position:]:
            position += 1
            yield f"data: {text}\n\n"
        yield ": a comment, which ends the loop if the client has gone\n\n"
        time.sleep(0.2)


@app.post("/say")
def say():
    messages.append(request.forms.text)
    return "said"
