"""Corpora made from fixed seeds with nothing but Python: all of the tiny and the small scale, and
the tiny files and the shop's database of the full one.

The same scale gives the same bytes on every machine (the database file: with the same SQLite).
"""
import array, json, os, random, sqlite3, struct

T0 = 1_700_000_000  # seconds; every mtime is this plus whole days
DAY = 86_400


class Text:
    """Seeded word soup of a Zipf-like distribution; zstd -3 makes about a third of it."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        letters, weights = "etaoinshrdlucmfwypvbgkjqxz", [13 - i * 0.45 for i in range(26)]
        self.words = ["".join(self.rng.choices(letters, weights, k=self.rng.randint(2, 10))) for _ in range(6000)]
        self.cumulated, total = [], 0.0
        for i in range(len(self.words)):
            total += 1 / (i + 3)
            self.cumulated.append(total)

    def make(self, n):
        """n bytes."""
        if n <= 0:
            return b""
        return " ".join(self.rng.choices(self.words, cum_weights=self.cumulated, k=n // 5 + 2)).encode()[:n]


def source_path(i):
    return f"src/m{i % 60}/s{i % 7}/f{i}.c"


def source(builder, files, steps):
    """C1: a tree of source-like files; each step edits one in thirty of them."""
    text = Text(1)
    for i in range(files):
        builder.write(source_path(i), text.make(int(text.rng.lognormvariate(8.6, 1.1))), T0)
    builder.commit()
    for step in range(1, steps):
        for i in text.rng.sample(range(files), max(files // 30, 1)):
            with open(f"{builder.live}/{source_path(i)}", "rb") as f:
                content = bytearray(f.read())
            at = text.rng.randrange(len(content) + 1)
            content[at:at] = text.make(200)
            builder.write(source_path(i), content, T0 + step * DAY)
        builder.commit()
    builder.finish()


def safetensors(tensors):
    """The bytes of a safetensors file of [(name, dtype, shape, bytes)]."""
    header, at = {}, 0
    for name, dtype, shape, data in tensors:
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    return struct.pack("<Q", len(head)) + head + b"".join(t[3] for t in tensors)


def bf16(values):
    """The bytes of an array of floats as bfloat16, rounded to nearest even."""
    bits = array.array("I", values.tobytes())
    return array.array("H", [(u + 0x7FFF + (u >> 16 & 1)) >> 16 for u in bits]).tobytes()


def weights(builder, layers, side, steps):
    """C2: checkpoints of a fine-tune in fp32 and bf16; each step moves 40 % of the tensors a little."""
    rng = random.Random(2)
    shape = (side, side)
    model = {}
    for k in range(layers):
        model[f"layer.{k:02d}.w"] = array.array("f", [rng.gauss(0, 0.02 + 0.003 * k) for _ in range(side * side)])
    for step in range(steps):
        for k, name in enumerate(model if step else ()):
            if rng.random() < 0.4:
                sigma = (0.02 + 0.003 * k) * 2e-3
                model[name] = array.array("f", [v + rng.gauss(0, sigma) for v in model[name]])
        full = safetensors([(k, "F32", shape, v.tobytes()) for k, v in model.items()])
        half = safetensors([(k, "BF16", shape, bf16(v)) for k, v in model.items()])
        when = T0 + step * DAY
        builder.write(f"runs/fp32/step-{step:04d}.safetensors", full, when)
        builder.write("runs/fp32/latest.safetensors", full, when)
        builder.write(f"runs/bf16/step-{step:04d}.safetensors", half, when)
        builder.commit()
    builder.finish(big="runs/fp32/step-0000.safetensors")


STATES = ["new", "paid", "packed", "shipped", "done", "returned"]
SCHEMA = """pragma journal_mode=delete; pragma synchronous=off; pragma cache_size=-400000; pragma page_size=4096;
create table customers(id integer primary key, name text, email text, city text, created int);
create table orders(id integer primary key, customer int, status text, total real, note text, ts int);
create table items(id integer primary key, ord int, sku text, qty int, price real);
create table events(id integer primary key, ts int, kind text, body text);"""
INDEXES = """create index o_c on orders(customer); create index i_o on items(ord);
create index e_t on events(ts,kind);"""


class Shop:
    """A shop's SQLite database: orders, their items, JSON events."""

    def __init__(self, path, text, orders):
        self.path, self.text, self.rng, self.size = path, text, text.rng, orders
        self.newest = 0  # id of the newest order
        os.makedirs(os.path.dirname(path))

    def _orders(self, n):
        rng = self.rng
        for _ in range(n):
            self.newest += 1
            yield (self.newest, rng.randrange(1, self.size // 8), rng.choice(STATES), round(rng.expovariate(1 / 60), 2),
                   self.text.make(rng.randint(20, 220)).decode(), T0 + self.newest * 7)

    def _items(self, low, high):
        rng = self.rng
        for order in range(low, high):
            for _ in range(rng.randint(1, 4)):
                yield (order, f"SKU-{rng.randrange(50000):06d}", rng.randint(1, 5), round(rng.expovariate(1 / 25), 2))

    def _events(self, low, high):
        rng, text = self.rng, self.text
        for order in range(low, high):
            kind = rng.choice(["view", "click", "cart", "buy", "err"])
            body = {"order": order, "session": f"{rng.getrandbits(128):032x}", "path": "/" + "/".join(rng.choices(text.words, k=3)),
                    "ms": rng.randrange(2000), "ref": text.make(rng.randint(30, 200)).decode()}
            yield (T0 + order * 7, kind, json.dumps(body))

    def _add(self, db, n):
        low = self.newest + 1
        db.executemany("insert into orders values(?,?,?,?,?,?)", self._orders(n))
        db.executemany("insert into items(ord,sku,qty,price) values(?,?,?,?)", self._items(low, self.newest + 1))
        db.executemany("insert into events(ts,kind,body) values(?,?,?)", self._events(low, self.newest + 1))

    def fill(self):
        rng, text = self.rng, self.text
        db = sqlite3.connect(self.path)
        db.executescript(SCHEMA)
        customers = ((i, text.make(14).decode(), f"u{i}@{rng.choice(text.words)}.example", rng.choice(text.words), T0 + i)
                     for i in range(1, self.size // 8))
        db.executemany("insert into customers values(?,?,?,?,?)", customers)
        self._add(db, self.size)
        db.executescript(INDEXES)
        db.commit()
        db.close()

    def day(self):
        """2 % of the orders updated, mostly recent ones; a few events deleted; 1 % of new orders."""
        rng = self.rng
        db = sqlite3.connect(self.path)
        db.executescript("pragma synchronous=off; pragma cache_size=-400000;")
        recent = [max(1, int(self.newest - rng.expovariate(1 / (self.size * 0.03)))) for _ in range(self.size // 50)]
        db.executemany("update orders set status=?, total=total+1 where id=?", ((rng.choice(STATES), i) for i in recent))
        db.executemany("delete from events where id=?", ((rng.randrange(1, self.size),) for _ in range(self.size // 2000)))
        self._add(db, self.size // 100)
        db.commit()
        db.close()


def database(builder, orders, steps):
    """C3: the shop's database, and a log that only grows."""
    text = Text(3)
    path = f"{builder.live}/sqlite/shop.db"
    shop = Shop(path, text, orders)
    log = b""
    for step in range(steps):
        shop.day() if step else shop.fill()
        os.utime(path, (T0 + step * DAY,) * 2)
        log += b"\n".join(b"%d %s" % (T0 + step * DAY + i, text.make(60)) for i in range(orders // 10))
        builder.write("log/shop.log", log, T0 + step * DAY)
        builder.commit()
    builder.finish(big="sqlite/shop.db")


def disk_image(builder, size, steps):
    """C4: one file laid out like a disk: runs of text, of random bytes and of zeros; pages rewritten."""
    text = Text(4)
    rng = text.rng
    path = f"{builder.live}/disk.img"
    with open(path, "wb") as f:
        while (left := size - f.tell()) > 0:
            run, kind = min(left, 4096 * rng.randint(1, 64)), rng.random()
            f.write(text.make(run) if kind < 0.4 else rng.randbytes(run) if kind < 0.8 else bytes(run))
    os.utime(path, (T0, T0))
    builder.commit()
    for step in range(1, steps):
        with open(path, "r+b") as f:
            for _ in range(size >> 20):  # pages, as a database writes them
                f.seek(rng.randrange(size >> 12) << 12)
                f.write(text.make(4096))
            for _ in range(4):  # new files
                f.seek(rng.randrange(size - (1 << 18)) & ~4095)
                f.write(rng.randbytes(rng.randint(1, 1 << 18)))
        os.utime(path, (T0 + step * DAY,) * 2)
        builder.commit()
    builder.finish(big="disk.img")


class _TinyFiles:
    def __init__(self, text):
        self.text, self.last = text, b"x" * 100

    def body(self, i):
        """75 % text in JSON, 20 % random, 5 % the same as the one before; 0 to 8 KB."""
        rng = self.text.rng
        n, kind = rng.randrange(0, 8193), rng.random()
        if kind >= 0.25:
            self.last = (b'{"id":%d,"ts":%d,"body":"' % (i, T0 + i) + self.text.make(n) + b'"}')[:n]
        elif kind >= 0.05:
            self.last = rng.randbytes(n)
        return self.last


def tiny_files(builder, folders, each, steps):
    """C5: many tiny files; each step replaces or deletes 0.5 % and adds 0.1 %."""
    text = Text(5)
    rng, files, total = text.rng, _TinyFiles(text), folders * each
    for i in range(total):
        builder.write(f"d{i // each:03d}/f{i % each:04d}.json", files.body(i), T0)
    builder.commit()
    for step in range(1, steps):
        when = T0 + step * DAY
        for i in rng.sample(range(total), max(total // 200, 1)):
            path = f"d{i // each:03d}/f{i % each:04d}.json"
            if os.path.exists(f"{builder.live}/{path}"):
                os.unlink(f"{builder.live}/{path}")
                if rng.random() < 0.9:
                    builder.write(path, files.body(i), when)
        for i in range(max(total // 1000, 1)):
            builder.write(f"d{rng.randrange(folders):03d}/n{step}-{i}.json", files.body(i), when)
        builder.commit()
    builder.finish()
