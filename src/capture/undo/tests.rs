use super::*;

fn program(line: &str) -> Undo {
    let argv = ["/bin/sh", "-c", line].map(str::to_owned).to_vec();
    Undo::Program { argv, env: vec![("WORD".into(), "thawed".into())], timeout: 10, after: None }
}

fn owner(strategy: &str) -> Owner {
    Owner { strategy: strategy.into(), source: "a".into(), what: "the command after".into() }
}

fn never() -> AtomicBool {
    AtomicBool::new(false)
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn says(&self) -> Undo {
        program(&format!("echo $WORD >> {}", self.0.path().join("said").display()))
    }

    fn said(&self) -> String {
        fs::read_to_string(self.0.path().join("said")).unwrap_or_default()
    }

    fn notes(&self) -> usize {
        let names = fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_str().unwrap().ends_with(".json")).count()
    }

    fn claim(&self, name: &str) -> Result<Claim, String> {
        Claim::of(self.0.path(), name, &AtomicBool::new(false))
    }
}

#[test]
fn what_is_switched_off_is_undone_once_and_its_note_goes() {
    let place = Place::new();
    let switched = place.claim("a").unwrap().note(owner("/s"), place.says()).unwrap();
    assert_eq!((place.notes(), place.said()), (1, String::new()));
    sweep_in(place.0.path(), Path::new("/s"), &AtomicBool::new(false));
    assert_eq!(place.said(), "", "its capture goes on");
    switched.undo().unwrap();
    assert_eq!((place.notes(), place.said().as_str()), (0, "thawed\n"));
    drop(place.claim("a").unwrap().note(owner("/s"), place.says()).unwrap());
    assert_eq!(place.said(), "thawed\nthawed\n");
}

/// Who is killed between two system calls leaves a note that can be read.
#[test]
fn a_note_is_whole_at_any_time_and_also_where_it_becomes_shorter() {
    let place = Place::new();
    let path = place.0.path().join("a.json");
    let mut file = held(&path, true).unwrap().unwrap();
    for line in ["true", &"echo long; ".repeat(1000), "true"] {
        write(&file, &Note { owner: None, failed: false, undo: program(line) }).unwrap();
        assert_eq!(read(&mut file).unwrap().undo, program(line));
    }
    assert!(file.metadata().unwrap().len() > 10_000, "it was never cut");
}

/// It would come after what must follow it.
#[test]
fn no_program_begins_where_what_must_follow_it_is_being_undone() {
    let (place, interrupted) = (Place::new(), never());
    let mut switched = place.claim("a").unwrap().note(owner("/s"), place.says()).unwrap();
    let mark = place.0.path().join("begun");
    let freeze = Program::new(["/usr/bin/touch", mark.to_str().unwrap()]);
    let path = switched.path.clone();
    let mut begin = || {
        let begun = freeze.start_told(false, &interrupted, |group| switched.follows(group));
        begun.map(|running| drop(running.wait()))
    };
    undo(&path, |_| {
        assert!(begin().unwrap_err().ends_with("interrupted"));
        Ok(())
    })
    .unwrap();
    assert!(begin().unwrap_err().ends_with("interrupted"), "it was undone");
    assert!(!mark.exists());
    assert_eq!(switched.follows(None), Ok(()));
}

#[test]
fn a_note_that_nobody_holds_is_undone_by_the_next_one_and_stays_while_that_fails() {
    let place = Place::new();
    let leave = |name: &str, undo: &Undo| {
        fs::write(place.0.path().join(name), serde_json::to_vec(undo).unwrap()).unwrap();
    };
    leave("a.json", &place.says());
    drop(place.claim("a").unwrap());
    assert_eq!(place.said(), "thawed\n");
    drop(place.claim("a").unwrap());
    assert_eq!(place.said(), "thawed\n", "once");
    leave("b.json", &program("exit 1"));
    fs::write(place.0.path().join("c.json"), "{\"redi").unwrap();
    fs::write(place.0.path().join("other"), "text").unwrap();
    sweep_in(place.0.path(), Path::new("/s"), &AtomicBool::new(false));
    assert_eq!(place.notes(), 1);
    leave("b.json", &place.says());
    sweep_in(place.0.path(), Path::new("/s"), &AtomicBool::new(false));
    assert_eq!((place.notes(), place.said().lines().count()), (1, 1), "tried once by one process");
    lock(&TRIED).clear();
    sweep_in(place.0.path(), Path::new("/s"), &AtomicBool::new(true));
    assert_eq!(place.notes(), 1, "the user stopped it");
    sweep_in(place.0.path(), Path::new("/s"), &AtomicBool::new(false));
    assert_eq!((place.notes(), place.said().lines().count()), (0, 2));
    assert!(place.0.path().join("other").exists());
}

#[test]
fn a_held_note_is_waited_for_until_the_user_stops_it() {
    let place = Place::new();
    let first = place.claim("a").unwrap();
    let stopped = Claim::of(place.0.path(), "a", &AtomicBool::new(true)).unwrap_err();
    assert_eq!(stopped, "interrupted");
    std::thread::scope(|scope| {
        let second = scope.spawn(|| place.claim("a").map(drop));
        first.note(owner("/s"), place.says()).unwrap().undo().unwrap();
        second.join().unwrap().unwrap();
    });
    assert_eq!(place.said(), "thawed\n");
}

#[test]
fn a_pipe_in_place_of_a_note_blocks_nothing() {
    let place = Place::new();
    let path = place.0.path().join("a.json");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    sweep_in(place.0.path(), Path::new("/s"), &AtomicBool::new(false));
    assert!(path.exists());
}

#[test]
fn a_note_names_its_source_and_there_is_one_of_each_strategy_and_source() {
    let name = owner("/s").name("after");
    assert_eq!((owner("/s").name("after"), name.len()), (name.clone(), 38));
    let other = Owner { source: "b".into(), ..owner("/s") };
    for it in [owner("/t").name("after"), other.name("after"), owner("/s").name("thaw")] {
        assert_ne!(it, name);
    }
}

#[test]
fn what_failed_is_left_to_its_own_strategy_and_keeps_its_source_from_being_captured() {
    let place = Place::new();
    let at = place.0.path();
    let says = format!("echo $WORD >> {}; test -e {0}.good", at.join("said").display());
    let switched = place.claim("a").unwrap().note(owner("/s"), program(&says)).unwrap();
    assert!(switched.undo().is_err());
    assert_eq!((place.notes(), place.said().lines().count()), (1, 1));
    let anew = || lock(&TRIED).clear();
    anew();
    sweep_in(at, Path::new("/t"), &never());
    assert_eq!(place.said().lines().count(), 1, "another strategy's");
    sweep_in(at, Path::new("/s"), &never());
    assert_eq!(place.said().lines().count(), 2);
    let refused = place.claim("a").unwrap_err();
    assert_eq!(place.said().lines().count(), 2, "once in a run");
    for word in ["of source a (/s)", "left this undone", "remove "] {
        assert!(refused.contains(word), "{refused}");
    }
    anew();
    fs::write(at.join("said.good"), "").unwrap();
    let switched = place.claim("a").unwrap().note(owner("/s"), program("true")).unwrap();
    assert_eq!(place.said().lines().count(), 3, "before the next capture");
    for strategy in ["/s", "/t"] {
        sweep_in(at, Path::new(strategy), &never());
    }
    assert_eq!((place.notes(), place.said().lines().count()), (1, 3), "it goes on");
    switched.undo().unwrap();
    assert_eq!(place.notes(), 0);
}

#[test]
fn what_a_killed_run_left_another_strategys_carries_out_once() {
    let place = Place::new();
    let at = place.0.path();
    let undo = program(&format!("echo $WORD >> {}; exit 1", at.join("said").display()));
    let note = Note { owner: Some(owner("/s")), failed: false, undo };
    fs::write(at.join("a.json"), serde_json::to_vec(&note).unwrap()).unwrap();
    for _ in 0..3 {
        sweep_in(at, Path::new("/t"), &never());
        lock(&TRIED).clear();
    }
    assert_eq!((place.notes(), place.said().lines().count()), (1, 1));
    sweep_in(at, Path::new("/s"), &never());
    assert_eq!((place.notes(), place.said().lines().count()), (1, 2));
}
