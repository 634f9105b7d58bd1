//! The check of the code: real writers, prunes, a forget and a mount over the memory storage, one
//! storage call at a time, in many orders; then every snapshot that is there must be readable.
//!
//! Orders are enumerated depth first with a bound on preemptions (an actor that could go on is left
//! for another), and beyond that drawn at random from printed seeds; and again with one of the actors
//! killed at any of its steps. The time-out of sessions is zero: a prune evicts whoever has not ended
//! when it looks, which is what any clock, however wrong, can come to.
//!
//! Each rule of the protocol is dropped in turn, and a loss must be found. The variants of
//! `protocol/model.py`, and what stands for each here:
//!
//! | variant of the model              | mutation of [`Rules`]                        | found by      |
//! |-----------------------------------|----------------------------------------------|---------------|
//! | `no-session(naive)`               | `session: false`                             | depth first   |
//! | `index-before-gc-state`           | `gc_first: false`, with `keep_decision: false` | depth first |
//! | `ttl-abort-without-put-if-absent` | `tombstone: false`                           | depth first   |
//! | `no-recheck-of-snapshots`         | `recheck: false`                             | depth first   |
//! | `no-wait-for-open-sessions`       | `wait: false`                                | depth first   |
//! | `remove-decision-record`          | `keep_decision: false`                       | a given order |
//!
//! The model forgets what a decision bans when its generation is over; the code goes on banning it for
//! a year. So `gc_first: false` alone loses nothing here, which is checked too, and the given order
//! takes a dozen changes of turn.
//!
//! `ICECORE_EXPLORE` is how many orders are looked at in each world; a test run takes the default. Of
//! kills it looks at that many for all of them together.

mod turns;

use std::sync::{Arc, Mutex};

use crate::format::{FrameKind, ObjectKey, Pin, PinId, Snapshot};
use crate::repo::{Marker, RepoError, Repository, Rules};
use crate::storage::{MemoryStorage, Objects, Storage};

use super::PruneOptions;
use super::testing::*;
use turns::{Actor, Choose, Ending, Turns};

/// What an actor does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Ingests content that the forgotten snapshot has, and some of its own.
    Writer(u64),
    Prune,
    /// Forgets the second snapshot.
    Forget,
    /// Reads the second snapshot.
    Reader,
    /// Looks at the second snapshot, again and again, though somebody forgets it meanwhile.
    Mount,
    /// Pins the first snapshot for a while.
    Pinner,
    /// Pins the first snapshot, and dies: prunes of its machine see that, others do not.
    DeadPinner,
    /// A prune on another machine.
    PruneElsewhere,
}

/// Two snapshots: the first is forgotten, or is going to be.
struct World {
    image: Objects,
    first: Snapshot,
    second: Snapshot,
}

const FIRST: Files<'static> = &[("x", &[1])];
const SECOND: Files<'static> = &[("y", &[2])];

impl World {
    fn new() -> Self {
        let storage = new_storage();
        let repo = open(storage.clone());
        let first = ingest(&repo, FIRST, 1).unwrap();
        let second = ingest(&repo, SECOND, 2).unwrap();
        forget(&repo, first.id);
        Self { image: storage.snapshot(), first, second }
    }

    fn act(&self, role: Role, repo: &Repository) -> Result<(), RepoError> {
        match role {
            Role::Writer(own) => match ingest(repo, &[("own", &[own]), ("x", &[1])], 3) {
                Err(RepoError::Evicted { .. }) => Ok(()),
                result => result.map(drop),
            },
            Role::Prune => {
                // Another prune may take what this one is looking at; then it fails, harmlessly.
                drop(prune(repo, &options()));
                Ok(())
            }
            Role::Forget => {
                let by = Marker { host: "here".into(), now: crate::clock::now() };
                repo.forget(self.second.id, &by).map(drop)
            }
            Role::Reader => read(repo, &self.second, SECOND),
            Role::Mount => self.look(repo),
            Role::PruneElsewhere => {
                drop(prune(repo, &PruneOptions { host: "there".into(), ..options() }));
                Ok(())
            }
            Role::Pinner => {
                let key = self.pin(repo, std::process::id());
                repo.storage().delete(&key).map_err(Into::into)
            }
            Role::DeadPinner => {
                self.pin(repo, NO_PROCESS);
                Ok(())
            }
        }
    }

    /// Right bytes, or none of a snapshot that was decided to go.
    fn look(&self, repo: &Repository) -> Result<(), RepoError> {
        for _ in 0..3 {
            let Err(err) = read(repo, &self.second, SECOND) else { continue };
            if !repo.generations()?.removed_snapshots().contains(&self.second.id) {
                return Err(err);
            }
        }
        Ok(())
    }

    /// Pins the first snapshot.
    fn pin(&self, repo: &Repository, pid: u32) -> ObjectKey {
        let id = PinId([7; 16]);
        let key = ObjectKey::Pin(id, 0);
        let pin = Pin {
            repository: repo.config().repository,
            id,
            beat: 0,
            snapshots: vec![self.first.id],
            at: crate::clock::now(),
            host: "here".into(),
            pid,
        };
        put(repo, key, FrameKind::Pin, pin.encode());
        key
    }

    /// Runs the actors in the order that `choose` gives. An error names what was lost.
    fn run(
        &self,
        roles: &[Role],
        rules: Rules,
        choose: &mut Choose<'_>,
    ) -> Result<Vec<String>, String> {
        self.run_and_kill(roles, rules, None, choose)
    }

    /// The same, with an actor that is killed when it is about to take the step of that number.
    fn run_and_kill(
        &self,
        roles: &[Role],
        rules: Rules,
        killed: Option<(usize, usize)>,
        choose: &mut Choose<'_>,
    ) -> Result<Vec<String>, String> {
        let storage = Arc::new(MemoryStorage::from(self.image.clone()));
        let turns = Turns::new(roles.len());
        let failures = Mutex::new(Vec::new());
        let trace = std::thread::scope(|scope| {
            for (number, role) in roles.iter().copied().enumerate() {
                let (turns, storage, failures) = (turns.clone(), storage.clone(), &failures);
                scope.spawn(move || {
                    let _ending = Ending(turns.clone(), number);
                    let name = format!("{role:?}{number}");
                    let before = Mutex::default();
                    let steps_left = Mutex::default();
                    let actor = Actor { name, number, turns, storage, before, steps_left };
                    let actor = Arc::new(actor);
                    let repo = open(actor.clone()).with_rules(rules);
                    let dies = killed.filter(|(victim, _)| *victim == number);
                    *actor.steps_left.lock().unwrap() = dies.map(|(_, step)| step + 1);
                    let done = self.act(role, &repo);
                    if let (Err(err), None) = (done, dies) {
                        failures.lock().unwrap().push(format!("{role:?}: {err}"));
                    }
                });
            }
            turns.give(choose)
        });
        let mut failures = failures.into_inner().unwrap();
        failures.extend(self.losses(storage));
        match failures.is_empty() {
            true => Ok(trace),
            false => Err(format!("{failures:?} after {}", trace.join("; "))),
        }
    }

    /// Snapshots that are there and cannot be read.
    fn losses(&self, storage: Arc<dyn Storage>) -> Vec<String> {
        let repo = open(storage);
        let list = repo.snapshots().unwrap();
        assert!(list.damaged.is_empty(), "{:?}", list.damaged);
        let mut losses = Vec::new();
        for snapshot in list.snapshots {
            let result = match snapshot.id {
                id if id == self.second.id => read(&repo, &snapshot, SECOND),
                _ => read(&repo, &snapshot, FIRST),
            };
            losses.extend(result.err().map(|err| format!("lost: {err}")));
        }
        losses
    }
}

/// Orders of turns, depth first, with at most so many preemptions.
struct Orders {
    path: Vec<(Vec<usize>, usize)>,
    depth: usize,
    preemptions: usize,
    bound: usize,
}

impl Orders {
    const fn new(bound: usize) -> Self {
        Self { path: Vec::new(), depth: 0, preemptions: 0, bound }
    }

    fn choose(&mut self, enabled: &[(usize, String)], last: Option<usize>) -> usize {
        let going = last.filter(|last| enabled.iter().any(|(actor, _)| actor == last));
        if self.depth == self.path.len() {
            let others = enabled.iter().map(|(actor, _)| *actor).filter(|it| Some(*it) != going);
            let mut options: Vec<usize> = going.into_iter().collect();
            if going.is_none() || self.preemptions < self.bound {
                options.extend(others);
            }
            self.path.push((options, 0));
        }
        let (options, at) = &self.path[self.depth];
        let chosen = options[*at];
        self.preemptions += usize::from(going.is_some_and(|going| going != chosen));
        self.depth += 1;
        chosen
    }

    /// Goes to the next order; `false` when all were tried.
    fn next(&mut self) -> bool {
        (self.depth, self.preemptions) = (0, 0);
        while let Some((options, at)) = self.path.last_mut() {
            if *at + 1 < options.len() {
                *at += 1;
                return true;
            }
            self.path.pop();
        }
        false
    }
}

/// Looks at orders until one loses something, or `most` were seen; says how many, and the loss.
fn explore(
    world: &World,
    roles: &[Role],
    rules: Rules,
    bound: usize,
    most: usize,
) -> (usize, Option<String>) {
    let mut orders = Orders::new(bound);
    for seen in 1..=most {
        let run = world.run(roles, rules, &mut |enabled, last| orders.choose(enabled, last));
        if let Err(loss) = run {
            return (seen, Some(loss));
        }
        if !orders.next() {
            return (seen, None);
        }
    }
    (most, None)
}

/// Most steps that an actor is looked at for; a prune that does all of its work takes fewer.
const STEPS: usize = 30;

/// Random orders: the actor that goes on changes at few random places, and with `kills` one of them
/// is killed at one of its steps.
fn wander(
    world: &World,
    roles: &[Role],
    rules: Rules,
    seeds: std::ops::Range<u64>,
    kills: bool,
) -> Option<String> {
    for seed in seeds {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut draw = move |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 33) as usize % below
        };
        let killed = kills.then(|| (draw(roles.len()), draw(STEPS)));
        let run = world.run_and_kill(roles, rules, killed, &mut |enabled, last| {
            let going = last.filter(|last| enabled.iter().any(|(actor, _)| actor == last));
            match going {
                Some(going) if draw(5) > 0 => going,
                _ => enabled[draw(enabled.len())].0,
            }
        });
        if let Err(loss) = run {
            return Some(format!("seed {seed}, killed {killed:?}: {loss}"));
        }
    }
    None
}

/// A given order: each actor goes on until it is about to do what is named, or has ended; then all
/// go on one after the other.
fn directed(
    world: &World,
    roles: &[Role],
    rules: Rules,
    script: &[(usize, &str)],
) -> Result<Vec<String>, String> {
    let mut at = 0;
    world.run(roles, rules, &mut |enabled, last| {
        while let Some((actor, until)) = script.get(at) {
            match enabled.iter().find(|(number, _)| number == actor) {
                Some((number, step)) if !step.ends_with(until) => return *number,
                _ => at += 1,
            }
        }
        let going = last.filter(|last| enabled.iter().any(|(actor, _)| actor == last));
        going.unwrap_or(enabled[0].0)
    })
}

/// How many orders to look at.
fn budget(default: usize) -> usize {
    let given = std::env::var("ICECORE_EXPLORE").ok();
    given.map_or(default, |text| text.parse().expect("ICECORE_EXPLORE is a number"))
}

/// No machine has so many processes.
const NO_PROCESS: u32 = 999_999_999;

use Role::{DeadPinner, Forget, Mount, Pinner, Prune, PruneElsewhere, Reader, Writer};

/// Everybody at once.
const ALL: [Role; 6] = [Writer(10), Writer(11), Prune, Prune, Forget, Mount];

#[test]
fn no_order_loses_anything() {
    let world = World::new();
    let worlds: [(&[Role], usize); 6] = [
        (&[Writer(10), Prune], 2),
        (&[Writer(10), Prune, Forget], 2),
        (&[Writer(10), Prune, Prune], 2),
        (&[Writer(10), Writer(11), Prune, Prune], 1),
        (&ALL, 1),
        (&[DeadPinner, Writer(10), Prune, PruneElsewhere], 1),
    ];
    for (roles, bound) in worlds {
        let (seen, loss) = explore(&world, roles, Rules::ALL, bound, budget(1500));
        assert_eq!(loss, None, "{roles:?}");
        assert!(seen > 500, "{roles:?}: {seen} orders of at most {bound} preemptions");
    }
}

#[test]
fn no_random_order_loses_anything() {
    let world = World::new();
    let seeds = budget(1000) as u64;
    let pinned = [Writer(10), Writer(11), Prune, Prune, Forget, Pinner];
    let elsewhere = [Writer(10), Prune, PruneElsewhere, Prune, Forget, DeadPinner];
    let reading = [Writer(10), Writer(11), Prune, Prune, Reader];
    for roles in [&ALL[..], &pinned, &elsewhere, &reading] {
        assert_eq!(wander(&world, roles, Rules::ALL, 0..seeds, false), None, "{roles:?}");
    }
}

/// Whoever is killed, at whatever step, costs the others nothing but time.
#[test]
fn no_kill_loses_anything() {
    let world = World::new();
    let worlds = [&[Writer(10), Prune][..], &[Prune, Writer(10), Prune, Forget]];
    let most = (budget(1800) / (worlds.len() * 2 * STEPS)).max(1);
    let mut survived = 0;
    for roles in worlds {
        for killed in (0..2).flat_map(|actor| (0..STEPS).map(move |step| (actor, step))) {
            let mut orders = Orders::new(1);
            for _ in 0..most {
                let mut choose = |enabled: &[_], last| orders.choose(enabled, last);
                let run = world.run_and_kill(roles, Rules::ALL, Some(killed), &mut choose);
                let trace = run.unwrap_or_else(|loss| panic!("{roles:?}, {killed:?}: {loss}"));
                let name = format!("{:?}{} ", roles[killed.0], killed.0);
                let steps = trace.iter().filter(|step| step.starts_with(&name)).count();
                survived += usize::from(steps < killed.1);
                if !orders.next() {
                    break;
                }
            }
        }
    }
    assert!(survived > 0, "no actor took fewer than {STEPS} steps: some were never killed at");
    let seeds = budget(1000) as u64;
    assert_eq!(wander(&world, &ALL, Rules::ALL, 0..seeds, true), None);
}

#[test]
fn each_dropped_rule_loses_something() {
    let world = World::new();
    let all = Rules::ALL;
    let dropped = [
        ("no session", Rules { session: false, ..all }),
        ("no tombstone", Rules { tombstone: false, ..all }),
        ("no wait for sessions", Rules { wait: false, ..all }),
        ("no recheck of snapshots", Rules { recheck: false, ..all }),
        ("index before gc", Rules { gc_first: false, keep_decision: false, ..all }),
    ];
    for (name, rules) in dropped {
        let (seen, loss) = explore(&world, &[Writer(10), Prune], rules, 2, 5000);
        let loss = loss.unwrap_or_else(|| panic!("{name}: no loss in {seen} orders"));
        assert!(loss.contains("lost"), "{name}: {loss}");
    }
    // A decision that stays bans what it names, so the order of the two reads alone is not what a
    // snapshot hangs on.
    let rules = Rules { gc_first: false, ..all };
    let (_, loss) = explore(&world, &[Writer(10), Prune], rules, 2, budget(1500));
    assert_eq!(loss, None);
}

#[test]
fn a_removed_decision_lets_a_slow_prune_decide_twice() {
    let world = World::new();
    let roles = [Prune, Prune, Pinner, Writer(10)];
    let script = [
        (0, "put C"),
        (0, "list sessions"),
        (1, "list sessions"), // adopts
        (2, "delete pin"),
        (0, "put D"), // the pinned snapshot is spared
        (2, "end"),
        (1, "put D"), // and here it is not
        (0, "end"),
        (3, "end"), // relies on what was spared
        (1, "end"),
    ];
    directed(&world, &roles, Rules::ALL, &script).unwrap();
    let rules = Rules { keep_decision: false, ..Rules::ALL };
    let loss = directed(&world, &roles, rules, &script).unwrap_err();
    assert!(loss.contains("lost"), "{loss}");
}
