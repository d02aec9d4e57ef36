//! Random calls, crashes and starts, against a log that is a map in memory.

use std::collections::BTreeMap;

use aumbry_types::{Entropy as _, SimulatedEntropy, SystemEntropy};

use super::*;

/// Numbers that come again with the same seed.
struct Dice(SimulatedEntropy);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_be_bytes(bytes) % bound
    }
}

/// What the log must be.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    entries: BTreeMap<u64, Bytes>,
    purged: Option<u64>,
    meta: [Option<Bytes>; 3],
}

impl Model {
    fn of(log: &Wal) -> Self {
        let entries = log.read(0..u64::MAX, usize::MAX);
        let purged_end = log.shared.lock().window.purged_end();
        Self {
            entries: entries.into_iter().collect(),
            purged: purged_end.map(|end| end - 1),
            meta: [Meta::Vote, Meta::Committed, Meta::Purged].map(|key| log.meta(key)),
        }
    }

    fn next(&self) -> u64 {
        let last = self.entries.keys().next_back().copied();
        last.or(self.purged).map_or(0, |last| last + 1)
    }

    /// One random call, to the model and to the log.
    fn call(&mut self, dice: &mut Dice, log: &Wal) {
        let next = self.next();
        match dice.below(20) {
            0 | 1 => {
                let from = next
                    .saturating_sub(dice.below(6))
                    .max(self.purged.map_or(0, |purged| purged + 1));
                self.entries.split_off(&from);
                log.truncate_from(from);
            }
            2 => {
                let index = next + 3 - dice.below(12).min(next + 2);
                if self.purged < Some(index) {
                    let marker = Bytes::from(index.to_string());
                    self.purged = Some(index);
                    self.entries = self.entries.split_off(&(index + 1));
                    self.meta[Meta::Purged as usize] = Some(marker.clone());
                    log.purge_to(index, marker);
                }
            }
            3 | 4 => {
                let vote = Bytes::from(format!("vote {}", dice.below(1000)));
                self.meta[Meta::Vote as usize] = Some(vote.clone());
                log.put_meta(Meta::Vote, vote, None);
            }
            5..=7 => {
                let hint = Bytes::from(format!("hint {}", dice.below(1000)));
                self.meta[Meta::Committed as usize] = Some(hint.clone());
                let done: Option<Done> =
                    (dice.below(4) == 0).then(|| Box::new(|done: io::Result<()>| done.unwrap()) as Done);
                log.put_meta(Meta::Committed, hint, done);
            }
            _ => {
                let (count, fill) = (dice.below(4), dice.below(256) as u8);
                let size = [40, 700, 4000, 30_000][(dice.below(40).max(36) - 36) as usize];
                let entries =
                    (next..next + count).map(|index| (index, Bytes::from(vec![fill; dice.below(size) as usize])));
                let entries: Vec<_> = entries.collect();
                self.entries.extend(entries.iter().cloned());
                log.append(entries, Box::new(|done| done.unwrap()));
            }
        }
    }
}

/// Makes one batch of all calls in `calls`: the writer is held up meanwhile.
fn one_batch(log: &Wal, calls: impl FnOnce()) {
    let (hold, held) = (channel::<()>(), channel::<()>());
    log.sync(Box::new(move |_| {
        held.0.send(()).unwrap();
        hold.1.recv().unwrap();
    }));
    held.1.recv().unwrap();
    calls();
    let (sender, receiver) = channel();
    log.sync(Box::new(move |done| sender.send(done).unwrap()));
    hold.0.send(()).unwrap();
    receiver.recv().unwrap().unwrap();
}

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// All segments, once nothing works on them any more.
fn files_of(dir: &Path) -> Files {
    let paths = fs::read_dir(segments_in(dir))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// What a crash in the middle of the batch between the two may leave: of the segments any sectors. `next` is the number of the one that could be
/// begun; those after it were made when the batch was durable.
fn crash_between(dice: &mut Dice, before: &Files, after: &Files, next: u64) -> Files {
    let mut crashed = before.clone();
    let share = 1 + dice.below(9);
    for (path, new) in after {
        let name = path.file_name().unwrap().to_string_lossy();
        let Some(number) = segment::number(&name).filter(|number| *number <= next) else {
            continue;
        };
        // One that was made for this batch has its header, which was durable before.
        if number == next && before.get(path).is_none_or(|old| old[..4096] != new[..4096]) {
            let mut fresh = vec![0; new.len()];
            fresh[..4096].copy_from_slice(&new[..4096]);
            crashed.insert(path.clone(), fresh);
        }
        let old = crashed.get_mut(path).expect("only the next one is made");
        for (old, new) in old.chunks_mut(512).zip(new.chunks(512)) {
            if dice.below(10) < share {
                old.copy_from_slice(new);
            }
        }
    }
    crashed
}

/// The floor in the middle of the batch: truncations lower it before the batch is written, votes are counted after.
fn floor_between(before: Mark, after: Mark) -> Mark {
    match before.truncations == after.truncations {
        true => before,
        false => Mark {
            end: before.end.min(after.end),
            truncations: after.truncations,
            votes: before.votes,
        },
    }
}

fn put_back(dir: &Path, files: &Files, floor: Mark) {
    fs::remove_dir_all(segments_in(dir)).unwrap();
    fs::create_dir(segments_in(dir)).unwrap();
    for (path, bytes) in files {
        fs::write(path, bytes).unwrap();
    }
    Floor::create(&floor_in(dir)).unwrap();
    Floor::open(&floor_in(dir)).unwrap().unwrap().set(floor);
}

/// A renewal that a crash ends at any of its steps changes nothing of what the log is.
fn renew_and_crash(dice: &mut Dice, dir: &Path, sizes: Sizes, model: &mut Model) -> Wal {
    let open = Wal::open_with(dir, sizes).unwrap();
    // So that the present segment holds something, and the renewal begins with the new one.
    let vote = Bytes::from(format!("vote {}", dice.below(1000)));
    model.meta[Meta::Vote as usize] = Some(vote.clone());
    wait(|done| open.put_meta(Meta::Vote, vote, Some(done)));
    settle_files(&open);
    let (before, floor) = (files_of(dir), mark(dir));
    open.renew();
    settle_files(&open);
    let after = files_of(dir);
    drop(open);
    let mut crashed = before;
    let step = dice.below(4);
    for (path, new) in &after {
        // The new file is whole, or holds its header alone; then the state is written, then old files go.
        let mut content = new.clone();
        if step == 1 && !crashed.contains_key(path) {
            content[4096..].fill(0);
        }
        if step > 0 {
            crashed.insert(path.clone(), content);
        }
    }
    if step == 3 {
        crashed.retain(|path, _| after.contains_key(path));
    }
    put_back(dir, &crashed, floor);
    let open = Wal::open_with(dir, sizes).unwrap();
    assert_eq!(Model::of(&open), *model, "step {step}");
    open
}

fn run(seed: u64) -> [u64; 2] {
    let mut dice = Dice(SimulatedEntropy::new(seed));
    let dir = tempfile::tempdir().unwrap();
    let mut model = Model::default();
    let mut outcomes = [0, 0];
    let sizes = Sizes {
        first: 8 << 10,
        cache: dice.below(8 << 10) as usize,
        ..SMALL
    };
    let mut log = Some(Wal::open_with(dir.path(), sizes).unwrap());
    for _ in 0..12 {
        let open = log.take().unwrap();
        for _ in 0..dice.below(30) {
            model.call(&mut dice, &open);
            if dice.below(15) == 0 {
                open.renew();
            }
        }
        assert_eq!(Model::of(&open), model);
        if dice.below(3) == 0 {
            drop(open);
            log = Some(renew_and_crash(&mut dice, dir.path(), sizes, &mut model));
            continue;
        }
        if dice.below(3) == 0 {
            drop(open);
        } else {
            // The floor may not be raised between the two looks, which are a crash's before and after; so it is settled by closing.
            drop(open);
            let open = Wal::open_with(dir.path(), sizes).unwrap();
            assert_eq!(Model::of(&open), model);
            settle_files(&open);
            let (old_model, before, floor) = (model.clone(), files_of(dir.path()), mark(dir.path()));
            let scan = Scan::read(&segments_in(dir.path()), Access::Read, 0).unwrap();
            let next = scan.current.unwrap() + 1;
            one_batch(&open, || {
                for _ in 0..=dice.below(6) {
                    model.call(&mut dice, &open);
                }
            });
            settle_files(&open);
            let (after, floor_after) = (files_of(dir.path()), mark(dir.path()));
            drop(open);
            let crashed = crash_between(&mut dice, &before, &after, next);
            put_back(dir.path(), &crashed, floor_between(floor, floor_after));
            let open = Wal::open_with(dir.path(), sizes).unwrap();
            let found = Model::of(&open);
            if found == model {
                outcomes[1] += 1;
            } else {
                assert_eq!(found, old_model, "neither what was before nor what was after");
                outcomes[0] += 1;
                model = old_model;
            }
            log = Some(open);
            continue;
        }
        let open = Wal::open_with(dir.path(), sizes).unwrap();
        assert_eq!(Model::of(&open), model);
        log = Some(open);
    }
    outcomes
}

/// Waits until writer and preparer have nothing to do.
fn settle_files(log: &Wal) {
    settle(log);
    log.preparer.settle();
}

#[test]
fn random_calls_crashes_and_starts_leave_what_was_acknowledged() {
    let mut bytes = [0; 8];
    SystemEntropy.fill(&mut bytes);
    let named = std::env::var("AUMBRY_SEED").ok().and_then(|seed| seed.parse().ok());
    let first: u64 = named.unwrap_or_else(|| u64::from_be_bytes(bytes) >> 16);
    let mut outcomes = [0, 0];
    for seed in first..first + 40 {
        let run = std::panic::catch_unwind(|| run(seed));
        let run = run.unwrap_or_else(|_| panic!("AUMBRY_SEED={seed} makes this run again"));
        outcomes = [outcomes[0] + run[0], outcomes[1] + run[1]];
    }
    assert!(
        outcomes[0] > 20 && outcomes[1] > 5,
        "{outcomes:?}: the run shows nothing"
    );
}
