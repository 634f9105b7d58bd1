//! `icecore drill`.

pub(super) mod inside;

use std::path::Path;
use std::time::Duration;

use clap::Args;

use crate::clock;
use crate::format::{DrillResult, Drilled, LedgerEvent, Time};
use crate::fsutil::machine;
use crate::ops::OpError;
use crate::ops::drill::{self, Access, Event, Leftovers, Order, Plan, Session};
use crate::repo::Repository;
use crate::report::drill as report;
use crate::report::text;
use crate::strategy::file::{Drill as DrillPlan, Mode, Strategy as File};
use crate::units::chain;

use super::context::{Context, Opened};
use super::error::{CliError, talk_error};
use super::exit::Exit;
use super::progress::talk;
use super::secrets;
use super::strategy::FileOption;

/// A drill is over within so long where the plan does not say.
const WITHIN: Duration = Duration::from_secs(30 * 60);
/// Where copies go where the plan does not say.
const SCRATCH: &str = "/var/tmp";
/// How often the end of a world that stays is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// Restore a whole stack on trial, and prove that it works
///
/// NAME is a drill of the strategy file, icecore.toml(5). Its newest snapshots are mounted, and in
/// namespaces of their own put at the original paths with a writable layer over them; or copied in
/// full, where the drill's mode says so. Its services are started there on a network of their own,
/// so they use their usual ports and reach nothing that runs. Then its checks are made, and made
/// again on damaged data, where each must fail: what was not seen to fail proves nothing. Nor does a
/// drill with a component of which nobody would see that it is lost: each is compared byte by byte,
/// or a check fails where it alone is damaged. icecore.toml(5) says what that shows and what not.
///
/// The time until the last check is held against the drill's RTO, the age of the snapshot against
/// its RPO, and all of it is recorded in the ledger of the repository, which `icecore ledger`
/// shows. Nothing of a drill survives it: processes, mounts and files end with it, also when it is
/// killed.
///
/// Exit code 0 where everything was proven; 4 where stored data differs or a target was missed, 1
/// where anything else does not hold or the checks prove nothing. Needs root, or a kernel that
/// gives namespaces and /dev/fuse to plain users.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore drill serving
  icecore drill serving --from offsite --json
  icecore drill serving --snapshot 2026-11-22 --file ./icecore.toml
  icecore drill serving --keep")]
pub(crate) struct Drill {
    /// A drill of the strategy file
    name: String,

    /// Restore from this repository of the strategy
    #[arg(long, value_name = "REPLICA")]
    from: Option<String>,

    /// Restore this snapshot instead of the newest of each source
    #[arg(long, value_name = "SNAP")]
    snapshot: Option<String>,

    /// Start the services once more at the end, and let them run until interrupted
    #[arg(long)]
    keep: bool,

    #[command(flatten)]
    file: FileOption,
}

/// What a drill is asked for besides its plan.
#[derive(Debug, Clone, Default)]
pub(crate) struct DrillOptions {
    /// The repository, by its name in the strategy.
    pub(crate) from: Option<String>,
    /// The snapshot.
    pub(crate) snapshot: Option<String>,
    /// Whether the services run on at the end.
    pub(crate) keep: bool,
}

impl Drill {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        let strategy = self.file.read()?;
        let Self { name, from, snapshot, keep, .. } = self;
        let options = DrillOptions { from, snapshot, keep };
        let (drilled, stays) = match keep {
            true => begin(cx, &strategy, &name, &options)?,
            false => (carry_out(cx, &strategy, &name, &options)?, None),
        };
        let exit = exit(&drilled);
        if drilled.result != DrillResult::Proven {
            let result = crate::report::ledger::drill_result(drilled.result);
            let cause = text::escaped(drilled.cause.as_bytes()).into_owned();
            talk_error(&format!("drill {name}: {result}: {cause}"));
        }
        cx.report(|| report::json(&drilled), || report::text(&drilled))?;
        if let Some(stays) = stays {
            stays.wait(cx)?;
        }
        Ok(exit)
    }
}

/// Exit code of a drill.
pub(crate) fn exit(drilled: &Drilled) -> Exit {
    let missed = |is: u64, target: Option<u64>| target.is_some_and(|target| is > target);
    let differs = drilled.checks.iter().any(|check| check.kind == "manifest" && !check.passed);
    match drilled.result {
        DrillResult::Proven => Exit::Done,
        DrillResult::Failed
            if differs
                || missed(drilled.rpo_ns, drilled.rpo_target_ns)
                || missed(drilled.rto_ns, drilled.rto_target_ns) =>
        {
            Exit::Damage
        }
        _ => Exit::Failed,
    }
}

/// Carries out a drill and records it.
///
/// # Errors
/// Where it could not begin, or the user does not want it any more: nothing is recorded then. That
/// it failed is no error.
pub(crate) fn carry_out(
    cx: &mut Context,
    strategy: &File,
    name: &str,
    options: &DrillOptions,
) -> anyhow::Result<Drilled> {
    let (drilled, stays) = begin(cx, strategy, name, options)?;
    drop(stays);
    Ok(drilled)
}

/// A world that stays after its drill. Folders last: they are removed when all else is gone.
struct Stays {
    session: Option<Session>,
    pid: u32,
    _leftovers: Leftovers,
}

impl Stays {
    fn wait(mut self, cx: &Context) -> anyhow::Result<()> {
        talk(&format!("its world stays until ^C; look around: nsenter -a -t {}", self.pid));
        while cx.interrupt.check().is_ok() {
            std::thread::sleep(LOOK);
        }
        self.session.take().map(Session::end).transpose()?;
        Ok(())
    }
}

impl Drop for Stays {
    fn drop(&mut self) {
        if let Some(Err(err)) = self.session.take().map(Session::end) {
            talk_error(&chain(&err));
        }
    }
}

fn begin(
    cx: &mut Context,
    strategy: &File,
    name: &str,
    options: &DrillOptions,
) -> anyhow::Result<(Drilled, Option<Stays>)> {
    let plan = strategy.drills.get(name).ok_or_else(|| {
        let known: Vec<_> = strategy.drills.keys().map(String::as_str).collect();
        let hint = match known.as_slice() {
            [] => "the strategy has no drills; icecore.toml(5) describes them".to_owned(),
            known => format!("the strategy has {}", known.join(", ")),
        };
        CliError::failed(format!("there is no drill {name}")).hint(hint)
    })?;
    let is_rootless = !rustix::process::geteuid().is_root();
    if is_rootless {
        may_mount()?;
    }
    if plan.cold
        && let Err(err) = drill::drop_caches()
    {
        talk(&format!("  notice: caches are warm: they cannot be dropped: {err}"));
    }
    let (started, started_ns) = (clock::now(), drill::now_ns());
    let name_of_place = drill::place(strategy, plan, options.from.as_deref())?;
    let place = strategy.repositories.get(name_of_place).ok_or_else(|| {
        CliError::failed(format!("there is no repository {name_of_place} in the strategy"))
    })?;
    let opened = cx.open_place(place)?;
    let snapshot = options.snapshot.as_deref();
    let found = drill::plan(&opened.repo, strategy, plan, name_of_place, snapshot, &machine())?;
    let scratch = match (&plan.scratch, plan.mode) {
        (Some(scratch), _) => Some(scratch.as_str()),
        (None, Mode::Copy) => Some(SCRATCH),
        (None, Mode::Instant) => None,
    };
    let leftovers = Leftovers::make(scratch.map(Path::new))?;
    let order = Order {
        drill: plan.clone(),
        started_ns,
        folder: leftovers.folders.folder.clone(),
        scratch: leftovers.folders.scratch.clone(),
        is_rootless,
        keeps: options.keep,
        snapshot_secs: found.oldest.secs,
        parts: found.parts.clone(),
        access: access(cx, Path::new(&place.url), &opened)?,
        sockets: Vec::new(),
    };
    let (found_by, session) = hear(cx, plan, &order)?;
    let mut drilled = drilled(name, plan, &found, started, found_by.clone());
    drilled.rto_ns = drilled.rto_ns.saturating_add(drilled.extrapolated_ns());
    let kept = found_by.kept.filter(|_| options.keep);
    let (said, stays) = match kept {
        Some(pid) => {
            (String::new(), Some(Stays { session: Some(session), pid, _leftovers: leftovers }))
        }
        None => (session.end()?, None),
    };
    drilled.duration_ns = drill::now_ns().saturating_sub(started_ns);
    let stopped = found_by.cause.map(|cause| match said.trim() {
        "" => cause,
        said => format!("{cause}; it said: {said}"),
    });
    (drilled.result, drilled.cause) = drill::judge(&drilled, stopped.as_deref());
    record(&opened.repo, &drilled);
    Ok((drilled, stays))
}

/// Whether a plain user gets as far as namespaces, where all else is told.
fn may_mount() -> Result<(), CliError> {
    let opened = std::fs::File::options().read(true).write(true).open("/dev/fuse");
    opened.map(drop).map_err(|err| {
        CliError::failed(format!("this machine lets plain users mount nothing: /dev/fuse: {err}"))
            .hint("run the drill as root")
    })
}

/// Hears the drill to its end. Where it is interrupted all of it is gone when this returns.
fn hear(cx: &Context, plan: &DrillPlan, order: &Order) -> anyhow::Result<(drill::Found, Session)> {
    let mut sweeper = drill::this_program(drill::SWEEP);
    for name in secrets::ENVIRONMENT.into_iter().chain([secrets::NEW_PASSPHRASE]) {
        sweeper.env_remove(name);
    }
    let mut session = Session::start(sweeper, order)?;
    let talks = !cx.global.quiet && !cx.global.json;
    let mut watch = |event: &Event| {
        if let Some(line) = report::line(event).filter(|_| talks) {
            talk(&line);
        }
    };
    let within = plan.timeout.map_or(WITHIN, |timeout| timeout.0);
    match session.hear(within, cx.interrupt.flag(), &mut watch) {
        Ok(found) => Ok((found, session)),
        Err(err) => {
            session.end()?;
            Err(err.into())
        }
    }
}

fn access(cx: &Context, location: &Path, opened: &Opened) -> anyhow::Result<Access> {
    let absolute = |path: &Path| {
        std::path::absolute(path)
            .map_err(|err| OpError::io(format!("find {}", path.display()), err))
    };
    let opening = inside::Opening {
        location: absolute(location)?,
        cache: cx.global.cache().map(|cache| absolute(&cache)).transpose()?,
        key: opened.repo.pass_key().map(|key| hex::encode(*key.0)),
    };
    Ok(Access(serde_json::to_string(&opening)?))
}

fn drilled(
    name: &str,
    plan: &DrillPlan,
    found: &Plan,
    started: Time,
    seen: drill::Found,
) -> Drilled {
    let age = (i128::from(started.secs) - i128::from(found.oldest.secs)) * 1_000_000_000
        + i128::from(started.nanos)
        - i128::from(found.oldest.nanos);
    let nanos = |span: &Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    Drilled {
        name: name.to_owned(),
        mode: match plan.mode {
            Mode::Instant => "instant".into(),
            Mode::Copy => "copy".into(),
        },
        started,
        duration_ns: 0,
        components: found.components.clone(),
        phases: seen.phases,
        checks: seen.checks,
        control: seen.control,
        rto_ns: seen.rto_ns,
        rto_target_ns: plan.targets.rto.map(|span| nanos(&span.0)),
        rpo_ns: u64::try_from(age).unwrap_or(0),
        rpo_target_ns: plan.targets.rpo.map(|span| nanos(&span.0)),
        result: DrillResult::Failed,
        cause: String::new(),
    }
}

fn record(repo: &Repository, drilled: &Drilled) {
    let program = concat!("icecore ", env!("CARGO_PKG_VERSION"));
    let event = LedgerEvent::Drilled(Box::new(drilled.clone()));
    if let Err(err) = repo.append_ledger(clock::now(), &machine(), program, event) {
        talk(&format!("  notice: not recorded in the ledger: {}", chain(&err)));
    }
}
