"""The page is read in the root of a checkout."""

COPIES = {"examples": "examples"}
NOT_RUN = {
    "$ granian --interface wsgi --workers 2 --blocking-threads 8 --port 8080 --working-dir examples/embed "
    "with_granian:app": "Granian is an extra on Linux only; tests/serving/test_embed.py runs it",
    "$ docker compose --file examples/deploy/compose.yaml up --build": (
        "it needs Docker; tests/serving/test_deployment.py checks the files"
    ),
}
