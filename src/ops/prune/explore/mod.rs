//! The check of the code: real writers, prunes, a forget and a reader over the memory storage, one
//! storage call at a time, in many orders; then every snapshot that is there must be readable.
//!
//! Orders are enumerated depth first with a bound on preemptions (an actor that could go on is left
//! for another), and beyond that drawn at random from printed seeds. The time-out of sessions is
//! zero: a prune evicts whoever has not ended when it looks, which is what any clock, however wrong,
//! can come to. Each rule of the protocol is dropped in turn, and a loss must be found; for the two
//! rules that guard what takes a dozen changes of turn, the order is given.
//!
//! `ICECORE_EXPLORE` is how many orders are looked at in each world; a test run takes the default.

mod turns;

use std::sync::{Arc, Mutex};

use crate::format::{FrameKind, ObjectKey, Pin, PinId, Snapshot, Time};
use crate::repo::{RepoError, Repository, Rules};
use crate::storage::{MemoryStorage, Objects, Storage};

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
    /// Pins the first snapshot for a while.
    Pinner,
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
                forget(repo, self.second.id);
                Ok(())
            }
            Role::Reader => read(repo, &self.second, SECOND),
            Role::Pinner => {
                let id = PinId([7; 16]);
                let key = ObjectKey::Pin(id, 0);
                let pin = Pin {
                    repository: repo.config().repository,
                    id,
                    beat: 0,
                    snapshots: vec![self.first.id],
                    at: Time::default(),
                    host: "h".into(),
                    pid: 1,
                };
                put(repo, key, FrameKind::Pin, pin.encode());
                repo.storage().delete(&key).map_err(Into::into)
            }
        }
    }

    /// Runs the actors in the order that `choose` gives. An error names what was lost.
    fn run(
        &self,
        roles: &[Role],
        rules: Rules,
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
                    let actor = Actor { name, number, turns, storage, before };
                    let repo = open(Arc::new(actor)).with_rules(rules);
                    if let Err(err) = self.act(role, &repo) {
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

/// Random orders: the actor that goes on changes at few random places.
fn wander(
    world: &World,
    roles: &[Role],
    rules: Rules,
    seeds: std::ops::Range<u64>,
) -> Option<String> {
    for seed in seeds {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut draw = move |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 33) as usize % below
        };
        let run = world.run(roles, rules, &mut |enabled, last| {
            let going = last.filter(|last| enabled.iter().any(|(actor, _)| actor == last));
            match going {
                Some(going) if draw(5) > 0 => going,
                _ => enabled[draw(enabled.len())].0,
            }
        });
        if let Err(loss) = run {
            return Some(format!("seed {seed}: {loss}"));
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

use Role::{Forget, Pinner, Prune, Reader, Writer};

#[test]
fn no_order_loses_anything() {
    let world = World::new();
    let worlds: [(&[Role], usize); 4] = [
        (&[Writer(10), Prune], 2),
        (&[Writer(10), Prune, Forget], 2),
        (&[Writer(10), Prune, Prune], 2),
        (&[Writer(10), Writer(11), Prune, Prune], 1),
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
    let all = [Writer(10), Writer(11), Prune, Prune, Forget, Pinner];
    let seeds = budget(1000) as u64;
    assert_eq!(wander(&world, &all, Rules::ALL, 0..seeds), None);
    let reading = [Writer(10), Writer(11), Prune, Prune, Reader];
    assert_eq!(wander(&world, &reading, Rules::ALL, 0..seeds), None);
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
        // A decision that stays bans what it names, so that alone the order of the two reads is
        // not what a snapshot hangs on.
        ("index before gc", Rules { gc_first: false, keep_decision: false, ..all }),
    ];
    for (name, rules) in dropped {
        let (seen, loss) = explore(&world, &[Writer(10), Prune], rules, 2, 5000);
        let loss = loss.unwrap_or_else(|| panic!("{name}: no loss in {seen} orders"));
        assert!(loss.contains("lost"), "{name}: {loss}");
    }
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
