"""The feature pipeline: updates features of random users without end; with --fill N makes them.

Each change of a user's clicks is also an event, in one transaction: the two sums are always equal, unless
somebody copies the data directory of a running server.
"""
import os, random, sys, time

import psycopg
import redis

PORT = int(os.environ["DEMO_PORT"])
GOLDEN = (900001, 900002, 900003)
DATABASE = f"host=127.0.0.1 port={PORT + 2} user=postgres dbname=features"


def fill(connection, cache, rows):
    connection.execute("create table features (id int primary key, f0 real, f1 real, f2 real, f3 real, clicks bigint not null, "
                       "updated_at timestamptz not null default now(), filler text)")
    connection.execute("create table events (id bigserial primary key, user_id int not null, clicks bigint not null)")
    connection.execute("insert into features select n, random(), random(), random(), random(), 0, now(), repeat(md5(n::text), 4) "
                       "from generate_series(1, %s) n", (rows,))
    for user in GOLDEN:
        values = [user % 7 / 7, user % 11 / 11, user % 13 / 13, user % 17 / 17]
        connection.execute("insert into features values (%s, %s, %s, %s, %s, 0, now(), '')", (user, *values))
        cache.hset(f"user:{user}", mapping={f"f{n}": value for n, value in enumerate(values)})
    for row in connection.execute("select id, f0, f1, f2, f3 from features limit 1000"):
        cache.hset(f"user:{row[0]}", mapping={f"f{n}": value for n, value in enumerate(row[1:])})
    connection.commit()


def work(connection, cache, rows):
    while True:
        user, clicks = random.randint(1, rows), random.randint(1, 9)
        values = [random.random() for _ in range(4)]
        with connection.transaction():
            connection.execute("update features set f0 = %s, f1 = %s, f2 = %s, f3 = %s, clicks = clicks + %s, updated_at = now() "
                               "where id = %s", (*values, clicks, user))
            connection.execute("insert into events (user_id, clicks) values (%s, %s)", (user, clicks))
        cache.hset(f"user:{user}", mapping={f"f{n}": value for n, value in enumerate(values)})
        time.sleep(0.005)


with psycopg.connect(DATABASE, autocommit=False) as connection:
    cache = redis.Redis(port=PORT + 1)
    if sys.argv[1:2] == ["--fill"]:
        fill(connection, cache, int(sys.argv[2]))
    else:
        rows = connection.execute("select count(*) from features").fetchone()[0] - len(GOLDEN)
        connection.commit()
        work(connection, cache, rows)
