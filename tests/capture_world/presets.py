"""Real stores under write load, for tests of the presets. Each line that a load prints is a number: so many things
were acknowledged by the store. A check reads all that a store holds, and prints how much that is.

usage: presets.py KIND load PLACE [URI] | KIND check PLACE [URI]
"""
import datetime, hashlib, logging, os, sys, tempfile, time

os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true", FEAST_USAGE="False", MPLCONFIGDIR="/nonexistent")
logging.disable(logging.WARNING)


def say(count):
    print(count, flush=True)


def acknowledged(count, pause):
    """Slowly enough that a store stays small: a check reads all of it, and two processors are shared."""
    say(count)
    time.sleep(pause)


class Mlflow:
    """A tracking database, and artifacts below `place`: each version of a model states the hash of its own."""

    def __init__(self, place, uri=None):
        from mlflow import MlflowClient

        self.place = place
        self.uri = uri or f"sqlite:///{place}/mlflow.db"
        self.client = MlflowClient(self.uri, self.uri)

    def load(self):
        experiment = self.client.create_experiment("load", artifact_location=f"file://{self.place}/artifacts")
        self.client.create_registered_model("ranker")
        count = 0
        with tempfile.TemporaryDirectory() as folder:
            while True:
                run, body, file = self.client.create_run(experiment).info, os.urandom(20_000), f"{folder}/model.bin"
                with open(file, "wb") as f:
                    f.write(body)
                self.client.log_artifact(run.run_id, file, "model")
                self.client.log_metric(run.run_id, "loss", 1 / (count + 1))
                tags = {"sha256": hashlib.sha256(body).hexdigest()}
                self.client.create_model_version("ranker", f"{run.artifact_uri}/model", run.run_id, tags=tags)
                count += 1
                acknowledged(count, 0.1)

    def check(self):
        versions, token = [], None
        while token != "":
            page = self.client.search_model_versions("name='ranker'", max_results=1000, page_token=token)
            versions, token = versions + list(page), page.token or ""
        for version in versions:
            place = self.client.get_model_version_download_uri("ranker", version.version).removeprefix("file://")
            with open(f"{place}/model.bin", "rb") as f:
                assert hashlib.sha256(f.read()).hexdigest() == version.tags["sha256"], version
            assert self.client.get_run(version.run_id).info.run_id == version.run_id
        say(len(versions))


class Lance:
    """A table that grows by ten rows at a time; now and then it is compacted and old versions are removed."""

    def __init__(self, place):
        import lancedb

        self.database = lancedb.connect(place)

    @staticmethod
    def rows(ids):
        import pyarrow

        vectors = pyarrow.array([[float(n), float(-n)] for n in ids], pyarrow.list_(pyarrow.float32(), 2))
        return pyarrow.table({"id": list(ids), "vector": vectors})

    def load(self):
        table, count = self.database.create_table("items", self.rows(range(10))), 10
        while True:
            table.add(self.rows(range(count, count + 10)))
            count += 10
            acknowledged(count, 0.005)
            if count % 500 == 0:
                table.optimize(cleanup_older_than=datetime.timedelta(0))

    def check(self):
        rows = self.database.open_table("items").to_arrow().sort_by("id")
        assert rows["id"].to_pylist() == list(range(len(rows))), "rows are missing"
        assert all(v == [n, -n] for n, v in enumerate(rows["vector"].to_pylist())), "vectors are wrong"
        say(len(rows))


class Feast:
    """A feature view after the other: its file of the offline store, the registry, its rows of the online store."""

    def __init__(self, place):
        from feast import Entity, FeatureStore, RepoConfig, ValueType

        for name in ("registry", "data"):
            os.makedirs(f"{place}/{name}", exist_ok=True)
        self.place, self.user = place, Entity(name="user", join_keys=["user"], value_type=ValueType.INT64)
        online = {"type": "sqlite", "path": f"{place}/data/online.db"}
        self.store = FeatureStore(config=RepoConfig(
            project="load", provider="local", registry=f"{place}/registry/registry.db", online_store=online,
            entity_key_serialization_version=3))

    def frame(self, number):
        import pandas

        now = datetime.datetime.now(datetime.timezone.utc)
        return pandas.DataFrame({"user": range(50), f"score{number}": [float(number + n) for n in range(50)],
                                 "event_timestamp": [now] * 50})

    def load(self):
        from feast import FeatureView, Field, FileSource
        from feast.types import Float64

        number = 0
        while True:
            frame, file = self.frame(number), f"{self.place}/data/{number}.parquet"
            frame.to_parquet(file)
            view = FeatureView(name=f"view{number}", entities=[self.user], ttl=datetime.timedelta(days=9),
                               schema=[Field(name=f"score{number}", dtype=Float64)],
                               source=FileSource(path=file, timestamp_field="event_timestamp"))
            self.store.apply([self.user, view])
            self.store.write_to_online_store(view.name, frame)
            number += 1
            acknowledged(number, 0.3)

    def check(self):
        import pandas

        views = self.store.list_feature_views()
        for number in range(len(views)):
            view = self.store.get_feature_view(f"view{number}")
            assert list(pandas.read_parquet(view.batch_source.path)[f"score{number}"])[7] == number + 7
            # Rows of the last one may still have been on their way.
            if number + 1 < len(views):
                rows = self.store.get_online_features([f"{view.name}:score{number}"], [{"user": 7}]).to_dict()
                assert rows[f"score{number}"] == [number + 7], (number, rows)
        say(len(views))


kind, verb, *arguments = sys.argv[1:]
getattr({"mlflow": Mlflow, "lance": Lance, "feast": Feast}[kind](*arguments), verb)()
