"""A visitor of the review pages, without a browser and without a socket."""

import re

from pipeline.web.review.app import application
from pipeline.web.review.settings import ReviewConfig
from pipeline.web.review.state import Review
from tests.support.web import Client

TOKEN = "s3cret-of-this-run"


def opened(folder, **options):
    from pipeline.lake.store import LakeStore

    return Review(LakeStore(str(folder / "lake")), ReviewConfig(TOKEN, port=4444, **options))


def entered(folder, **options):
    review = opened(folder, **options)
    client = Client(application(review))
    client.review = review
    client.csrf = review.config.csrf
    assert client.get(f"/?token={TOKEN}").status_code == 303
    yield client
    review.close()


def persons(client):
    return list(dict.fromkeys(re.findall(r"/people/([0-9a-f]{16})", client.get("/").text)))


def faces(client, person):
    text = client.get(f"/people/{person}").text
    return re.findall(r'name="face" value="([0-9a-f]{32}-\d+)"', text)


def send(client, path, **fields):
    return client.post(path, {"csrf": client.csrf, "next": "/", **fields})


def rows(client):
    return len(client.review.people.constraints())
