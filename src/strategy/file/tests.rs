use super::*;

const WHOLE: &str = r#"
time-zone = "Europe/Berlin"
assets = ["/srv"]

[repositories.local]
url = "/backup/main"
media = "disk"
passphrase-file = "/etc/icecore/passphrase"

[repositories.far]
url = "/mnt/far"
media = "object"
site = "frankfurt"
offsite = true
immutable = true

[sources.models]
paths = ["/srv/models"]
repository = "local"
replicas = ["far"]
every = "6h"
rpo = "12h"
labels = ["weights"]
exclude = ["*.tmp"]
keep = { last = 7, daily = 30, within = "2m" }
hooks = { before = "sync", on-failure = ["logger", "backup failed"], timeout = "5min" }

[sources.features]
postgres = { connection = "host=/run/postgresql", method = "physical" }
repository = "local"
calendar = "*-*-* 02:00"

[sources.cache]
redis = {}
repository = "local"

[sources.stack]
group = { members = ["features", "cache"], freeze = "app pause", thaw = "app resume" }
repository = "local"
every = "1h"

[drills.serving]
calendar = "weekly"
targets = { rto = "60s", rpo = "1h" }
components.weights = { source = "models" }
components.database = { source = "features", at = "/var/lib/postgresql/15/main" }

[drills.serving.services.postgres]
run = ["postgres", "-D", "/var/lib/postgresql/15/main"]
user = "postgres"
ready = { tcp = "127.0.0.1:5432", within = "30s" }

[drills.serving.services.api]
run = "exec python -m app"
after = ["postgres"]
ready.http = "http://127.0.0.1:8000/healthz"

[[drills.serving.checks]]
manifest = "weights"
[[drills.serving.checks]]
http = "http://127.0.0.1:8000/predict"
json = { "/label" = "cat" }
[[drills.serving.checks]]
sql = { postgres = "host=127.0.0.1", query = "select count(*) from features", min = 20000 }

[targets]
copies = 2
offsite = 1
verified-within = "30d"

[[notifications]]
email = { to = ["ops@example.org"] }
"#;

fn problems(text: &str) -> Vec<String> {
    let found = check(&Strategy::parse(text).unwrap());
    let line = |problem: Problem| {
        let kind = if problem.is_warning { "warning" } else { "error" };
        format!("{kind} {}: {}", problem.at, problem.what)
    };
    found.into_iter().map(line).collect()
}

#[test]
fn a_whole_file_reads() {
    let strategy = Strategy::parse(WHOLE).unwrap();
    let models = &strategy.sources["models"];
    assert_eq!(models.rpo.unwrap().0.as_secs(), 12 * 3600);
    assert_eq!(strategy.places_of(models), ["local", "far"]);
    assert_eq!(strategy.targets_of(models).offsite, Some(1));
    assert_eq!(strategy.drills["serving"].start_order(), Ok(vec!["postgres", "api"]));
    let warned = problems(WHOLE);
    assert_eq!(warned.len(), 2, "of the group, not of each member: {warned:#?}");
    assert!(
        warned.iter().all(|line| line.starts_with("warning") && line.contains("cannot be met"))
    );
}

#[test]
fn misspelt_keys_are_named_with_their_line() {
    let text = WHOLE.replace("rpo = \"12h\"", "rop = \"12h\"");
    let err = Strategy::parse(&text).unwrap_err();
    assert!(err.contains("unknown field `rop`") && err.contains("line 22"), "{err}");
    let err = Strategy::parse(&WHOLE.replace("\"6h\"", "\"often\"")).unwrap_err();
    assert!(err.contains("\"often\" is not a duration"), "{err}");
}

#[test]
fn every_wrong_line_is_told() {
    for (from, to, expected) in [
        ("time-zone = \"Europe/Berlin\"", "time-zone = \"Mars\"", "error time-zone: "),
        ("\"/mnt/far\"", "\"far\"", "error repositories.far.url: \"far\" is not absolute"),
        ("\"/mnt/far\"", "\"s3://far\"", "this icecore keeps repositories in folders"),
        ("site = \"frankfurt\"", "", "warning repositories.far: it is off site, but"),
        ("replicas = [\"far\"]", "replicas = [\"near\"]", "there is no repository near"),
        ("replicas = [\"far\"]", "replicas = [\"local\"]", "repository local twice"),
        ("paths = [\"/srv/models\"]", "", "error sources.models: one of these is missing"),
        (
            "paths = [",
            "sqlite = [\"/a.db\"]\npaths = [",
            "only one of these may be there: paths, sqlite",
        ),
        ("every = \"6h\"", "", "warning sources.models: it is never due"),
        ("every = \"6h\"", "every = \"1d\"", "lower every"),
        ("every = \"6h\"", "every = \"0s\"", "error sources.models.every: it would always be due"),
        ("*-*-* 02:00", "*-*-* 26:00", "error sources.features.calendar: "),
        ("within = \"2m\"", "within = \"soon\"", "error sources.models.keep.within"),
        ("last = 7, daily = 30, within = \"2m\"", "", "it keeps nothing"),
        ("members = [\"features\", \"cache\"]", "members = [\"x\"]", "there is no source x"),
        ("after = [\"postgres\"]", "after = [\"redis\"]", "there is no service redis"),
        ("after = [\"postgres\"]", "after = [\"api\"]", "these wait for each other: api"),
        ("source = \"models\"", "source = \"model\"", "there is no source model"),
        ("manifest = \"weights\"", "manifest = \"w\"", "there is no component w"),
        (", min = 20000", "", "it expects nothing"),
        ("email = ", "command = \"x\"\nemail = ", "error notifications[0]: only one of"),
    ] {
        assert!(WHOLE.contains(from), "{from}");
        let found = problems(&WHOLE.replace(from, to));
        assert!(found.iter().any(|line| line.contains(expected)), "{to}: {found:#?}");
    }
}

/// A drill of two components over a file with these lines of it, and sources `a` and `b`.
fn drill(repository_of_b: &str, lines: &str) -> Vec<String> {
    problems(&format!(
        "[repositories.r]\nurl = \"/r\"\nmedia = \"disk\"\n\
         [repositories.s]\nurl = \"/s\"\nmedia = \"disk\"\n\
         [sources.a]\npaths = [\"/srv/a\"]\nevery = \"1h\"\nrepository = \"r\"\n\
         [sources.b]\npaths = [\"/srv/b\"]\nevery = \"1h\"\nrepository = \"{repository_of_b}\"\n\
         [drills.d]\ncomponents = {{ a = {{ source = \"a\" }}, b = {{ source = \"b\" }} }}\n{lines}"
    ))
}

#[test]
fn a_component_that_no_check_looks_at_is_warned_of() {
    let unseen = "warning drills.d.components.b: no check looks at it, so the drill proves nothing; \
                  add manifest = \"b\"";
    for checks in [
        "{ manifest = \"a\" }",
        "{ manifest = \"a\" }, { structure = \"/srv/a/*.json\" }",
        "{ manifest = \"a\" }, { sql = { sqlite = \"/srv/bb.db\", query = \"x\", min = 1 } }",
    ] {
        assert_eq!(drill("r", &format!("checks = [{checks}]")), [unseen], "{checks}");
    }
    for checks in [
        "{ manifest = \"b\" }",
        "{ structure = \"/srv/b/*.json\" }",
        "{ structure = \"/srv/**/*.json\" }",
        "{ sql = { sqlite = \"/srv/b/x.db\", query = \"x\", min = 1 } }",
        "{ command = \"true\" }",
        "{ http = \"http://127.0.0.1/\" }",
    ] {
        let lines = format!("checks = [{{ manifest = \"a\" }}, {checks}]");
        assert_eq!(drill("r", &lines), [""; 0], "{checks}");
    }
    assert_eq!(drill("r", "mode = \"copy\"\nchecks = [{ manifest = \"a\" }]"), [""; 0]);
    let with_service = "services.s.run = \"true\"\nchecks = [{ manifest = \"a\" }]";
    assert_eq!(drill("r", with_service), [""; 0]);
}

#[test]
fn a_drill_over_two_repositories_and_tolerances_that_take_anything_are_told() {
    let both = "checks = [{ manifest = \"a\" }, { manifest = \"b\" }]";
    let told = drill("s", both);
    assert!(told.len() == 1 && told[0].contains("in several repositories (r, s)"), "{told:?}");
    assert_eq!(drill("s", &format!("from = \"r\"\n{both}")), [""; 0]);
    let golden = |how: &str| {
        let golden = format!("{{ file = \"/g\", url = \"http://x/\", {how} }}");
        drill("r", &format!("checks = [{{ manifest = \"a\" }}, {{ golden = {golden} }}]"))
    };
    for good in ["tolerance = 0.0", "tolerance = 0.99", "cosine = 0.1", "cosine = 1.0"] {
        assert_eq!(golden(good), [""; 0], "{good}");
    }
    for (wrong, told) in [
        ("tolerance = 1.0", "1 takes any number for the known one"),
        ("tolerance = 1e9", "1000000000 takes any number for the known one"),
        ("tolerance = -1.0", "it must be 0 or more"),
        ("cosine = 0.0", "it must be above 0"),
        ("cosine = 1.1", "it must be above 0"),
    ] {
        let found = golden(wrong);
        let is_told = found.len() == 1 && found[0].starts_with("error drills.d.checks[1].golden.");
        assert!(is_told && found[0].contains(told), "{wrong}: {found:?}");
    }
}

#[test]
fn what_a_table_lacks_is_told_with_its_name() {
    let err = Strategy::parse(
        "[repositories.a]\nurl = \"/a\"\nmedia = \"disk\"\n\n\
                               [repositories.n]\nurl = \"/n\"\n",
    );
    assert_eq!(err.unwrap_err(), "line 5: repositories.n: missing field `media`");
}

#[test]
fn the_database_of_mlflow_must_be_named() {
    let found = |connection: &str| {
        problems(&format!(
            "[repositories.r]\nurl = \"/r\"\nmedia = \"disk\"\n\
             [sources.runs]\npostgres = {{ connection = \"{connection}\" }}\n\
             [sources.files]\npaths = [\"/artifacts\"]\n\
             [sources.all]\nevery = \"1h\"\n\
             group = {{ members = [\"runs\", \"files\"], preset = \"mlflow\" }}"
        ))
    };
    for named in [
        "host=/run/postgresql dbname=mlflow",
        "dbname = 'ml flow'",
        "postgresql://user@localhost:5432/mlflow?connect_timeout=1",
        "postgres:///?host=/run&dbname=mlflow",
    ] {
        assert_eq!(found(named), [] as [&str; 0], "{named}");
    }
    for unnamed in ["", "host=/run user=mydbname", "postgresql://localhost:5432", "postgres://h/"] {
        let found = found(unnamed);
        let told = "error sources.runs.postgres.connection: group all asks it";
        assert!(found.len() == 1 && found[0].starts_with(told), "{unnamed}: {found:#?}");
    }
}
