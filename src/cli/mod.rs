//! The command line: arguments in, calls to [`crate::ops`], reports out.
//!
//! One file per command, whose doc comment is its help; the man pages and shell completions are
//! made from the same definitions (`man/`, checked by `tests/man.rs`). Standard output is data,
//! standard error is talk. All errors pass through `error`, which decides hint and exit code.

mod arenas;
mod ask;
mod cat;
mod completions;
mod context;
mod diff;
mod drill;
mod error;
mod exit;
mod find;
mod forget;
mod global;
mod ingest;
mod init;
mod key;
mod ledger;
mod log;
mod ls;
mod man;
mod manager;
mod manual_output;
mod misplaced;
mod mount;
mod output;
mod parity;
mod places;
mod priority;
mod progress;
mod protect;
mod prune;
mod repair;
mod replicate;
mod report;
mod restore;
mod run;
mod schedule;
mod secrets;
mod signals;
mod snapshots;
mod stats;
mod status;
mod strategy;
mod stream;
mod style;
mod tag;
mod umount;
mod verify;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use context::Context;
pub use exit::Exit;
use global::GlobalOptions;
use mount::helper;
use output::Output;
use signals::Interrupt;

/// Backups that you can cd into
///
/// icecore keeps snapshots of files in a repository and shows every snapshot as a directory:
/// mounted, a restore is cp -a and a comparison is diff -r. Content is stored once however often
/// it occurs, compressed, and encrypted unless the repository was made without.
///
/// Start with `icecore init /backup`, then `icecore -r /backup ingest /srv`.
#[derive(Debug, Parser)]
#[command(name = "icecore", bin_name = "icecore", version, styles = style::STYLES)]
#[command(subcommand_required = true, arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: GlobalOptions,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Init),
    Ingest(ingest::Ingest),
    Snapshots(snapshots::Snapshots),
    Mount(mount::Mount),
    Umount(umount::Umount),
    Restore(restore::Restore),
    Ls(ls::Ls),
    Find(find::Find),
    Cat(cat::Cat),
    Diff(diff::Diff),
    Stats(stats::Stats),
    Forget(Box<forget::Forget>),
    Tag(tag::Tag),
    Protect(protect::Protect),
    Unprotect(protect::Unprotect),
    Verify(verify::Verify),
    Prune(prune::Prune),
    Replicate(Box<replicate::Replicate>),
    Parity(parity::Parity),
    Ledger(ledger::Ledger),
    Repair(repair::Repair),
    Strategy(strategy::Strategy),
    Drill(drill::Drill),
    Run(run::Run),
    Status(status::Status),
    Report(report::Report),
    Schedule(schedule::Schedule),
    Key(key::Key),
    Completions(completions::Completions),
    Man(man::Man),
}

/// Runs the command that the arguments of this process name.
#[must_use]
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if let Some(exit) = drill::inside::main(&args) {
        return exit;
    }
    if helper::is_call(&args) {
        return helper::exit(main_of_mount(&args));
    }
    // clap prints usage errors itself and exits with 2, and help with 0.
    start(Cli::parse()).into()
}

/// The same where mount(8) calls.
fn main_of_mount(args: &[OsString]) -> Exit {
    let call = match helper::parse(args) {
        Ok(call) => call,
        Err(err) => return error::show(&err.into(), false),
    };
    match Cli::try_parse_from(call.args) {
        Ok(_) if call.fake => Exit::Done,
        Ok(cli) => start(cli),
        Err(err) => {
            // Where standard error is closed, the exit code says it.
            let _ = err.print();
            Exit::Usage
        }
    }
}

fn start(cli: Cli) -> Exit {
    let Cli { global, command } = cli;
    log::start(global.verbose, global.quiet);
    arenas::share();
    let json = global.json;
    let mut cx = Context { global, out: Output::new(), interrupt: Interrupt::default() };
    let result = run(command, &mut cx).and_then(|exit| {
        cx.out.finish()?;
        Ok(exit)
    });
    result.unwrap_or_else(|err| error::show(&err, json))
}

fn run(command: Command, cx: &mut Context) -> anyhow::Result<Exit> {
    match command {
        Command::Init(command) => command.run(cx),
        Command::Ingest(command) => command.run(cx),
        Command::Snapshots(command) => command.run(cx),
        Command::Ls(command) => command.run(cx),
        Command::Find(command) => command.run(cx),
        Command::Cat(command) => command.run(cx),
        Command::Diff(command) => command.run(cx),
        Command::Stats(command) => command.run(cx),
        Command::Restore(command) => command.run(cx),
        Command::Forget(command) => command.run(cx),
        Command::Tag(command) => command.run(cx),
        Command::Protect(command) => command.run(cx),
        Command::Unprotect(command) => command.run(cx),
        Command::Verify(command) => command.run(cx),
        Command::Prune(command) => command.run(cx),
        Command::Ledger(command) => command.run(cx),
        Command::Strategy(command) => command.run(cx),
        Command::Drill(command) => command.run(cx),
        Command::Run(command) => command.run(cx),
        Command::Status(command) => command.run(cx),
        Command::Report(command) => command.run(cx),
        Command::Schedule(command) => command.run(cx),
        Command::Mount(command) => command.run(cx),
        Command::Umount(command) => command.run(cx),
        Command::Parity(command) => command.run(cx),
        Command::Repair(command) => command.run(cx),
        Command::Replicate(command) => command.run(cx),
        Command::Key(command) => command.run(cx),
        Command::Completions(command) => command.run(cx),
        Command::Man(command) => command.run(cx),
    }
}
