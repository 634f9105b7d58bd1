"""The service: ranks items for a user's query, by what they mean and by the user's features."""
import os, pathlib, tomllib, zlib

import numpy as np
import onnxruntime
import psycopg
import redis
from fastapi import FastAPI
from mlflow.tracking import MlflowClient
from pydantic import BaseModel
from safetensors.numpy import load_file

ROOT, PORT = pathlib.Path(os.environ["DEMO_ROOT"]), int(os.environ["DEMO_PORT"])
CONFIG = tomllib.loads((ROOT / "config/app.toml").read_text())
SESSION = onnxruntime.InferenceSession(str(ROOT / CONFIG["model"]))
INPUTS = {each.name for each in SESSION.get_inputs()}
CACHE = redis.Redis(port=PORT + 1, decode_responses=True)
DATABASE = f"host=127.0.0.1 port={PORT + 2} user=postgres dbname=features"


def load_ranker():
    name, alias = CONFIG["ranker"].split("@")
    version = MlflowClient(tracking_uri=f"sqlite:///{ROOT}/mlflow/mlflow.db").get_model_version_by_alias(name, alias)
    return load_file(pathlib.Path(version.source) / "ranker.safetensors")["weights"], version.version


WEIGHTS, VERSION = load_ranker()
app = FastAPI()


class Request(BaseModel):
    user: int
    query: str
    items: list[str]


def embed(text):
    """The mean of the model's last layer. Words become ids by their checksum: the demo ships no vocabulary."""
    ids = np.array([[101, *(1000 + zlib.crc32(word.encode()) % 28000 for word in text.lower().split()), 102]])
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    output = SESSION.run(None, {name: value for name, value in feeds.items() if name in INPUTS})[0]
    vector = output[0].mean(axis=0) if output.ndim == 3 else output[0]
    return vector / np.linalg.norm(vector)


def features_of(user):
    found = CACHE.hgetall(f"user:{user}")
    if found:
        return [float(found[name]) for name in ("f0", "f1", "f2", "f3")], "cache"
    with psycopg.connect(DATABASE) as connection:
        row = connection.execute("select f0, f1, f2, f3 from features where id = %s", (user,)).fetchone()
    return ([float(value) for value in row] if row else [0.0] * 4), "database"


@app.get("/healthz")
def healthz():
    CACHE.ping()
    with psycopg.connect(DATABASE) as connection:
        return {"users": connection.execute("select count(*) from features").fetchone()[0], "model": VERSION}


@app.post("/rank")
def rank(request: Request):
    features, source = features_of(request.user)
    personal = CONFIG["feature_weight"] * float(np.dot(WEIGHTS, features))
    query = embed(request.query)
    scores = [float(query @ embed(item)) + personal for item in request.items]
    return {"scores": scores, "best": request.items[int(np.argmax(scores))], "features": source, "model": VERSION}
