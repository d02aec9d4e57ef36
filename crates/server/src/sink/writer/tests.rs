use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use aumbry_types::{Entropy as _, SimulatedEntropy};

use super::super::output::{Output, Prepared};
use super::*;
use crate::config::FileMode;

/// A sink's file in a directory of its own, and the names that it was renamed to.
struct Bed {
    root: tempfile::TempDir,
    data: DataDir,
    writer: Writer<Output>,
    renamed: u32,
}

impl Bed {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let data = DataDir::open(&root.path().join("data")).unwrap();
        fs::create_dir(root.path().join("log")).unwrap();
        let writer = load(&data, &file(root.path()));
        Self {
            root,
            data,
            writer,
            renamed: 0,
        }
    }

    fn path(&self) -> PathBuf {
        file(self.root.path())
    }

    /// What a process finds that starts now.
    fn restart(&mut self) {
        // The lock goes first, as it does with a process.
        self.writer.output = Output::new(self.path(), FileMode::default());
        self.writer = load(&self.data, &self.path());
    }

    fn put(&mut self, count: u64) -> Result<(), SinkError> {
        let batch = batch(self.writer.cursor.next, count);
        self.writer.put(&self.data, &batch)
    }

    /// Writes as much of a batch as a process does that is killed at this point, and starts again.
    fn crash(&mut self, count: u64, point: Point) {
        let batch = batch(self.writer.cursor.next, count);
        let prepared = self.writer.output.prepare(self.writer.cursor.place, &batch.lines);
        if let (Prepared::At(place), Point::Behind { bytes, zeros }) = (prepared.unwrap(), point) {
            store(&mut self.writer.cursor, &self.data, |cursor| cursor.place = Some(place)).unwrap();
            let mut file = OpenOptions::new().append(true).open(self.path()).unwrap();
            file.write_all(&batch.lines[..bytes.min(batch.lines.len())]).unwrap();
            file.write_all(&vec![0; zeros]).unwrap();
        }
        self.restart();
    }

    fn rename(&mut self) {
        if self.path().exists() {
            self.renamed += 1;
            fs::rename(self.path(), self.path().with_added_extension(self.renamed.to_string())).unwrap();
        }
    }

    /// All lines, of the files in the order of their age.
    fn lines(&self) -> String {
        let renamed = (1..=self.renamed).map(|n| self.path().with_added_extension(n.to_string()));
        let text = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
        renamed.chain([self.path()]).map(text).collect()
    }
}

#[derive(Clone, Copy)]
enum Point {
    /// Nothing but the file itself was made.
    Before,
    /// So much of the batch is in the file, and zeros where more was to come.
    Behind { bytes: usize, zeros: usize },
}

fn file(root: &Path) -> PathBuf {
    root.join("log/audit.log")
}

fn load(data: &DataDir, path: &Path) -> Writer<Output> {
    let cursor = Cursor::load(data, path).unwrap();
    let cursor = cursor.unwrap_or_else(|| Cursor::new(path, "c".to_owned(), 0));
    Writer::new(Output::new(path.to_owned(), FileMode::default()), cursor)
}

fn text(from: u64, count: u64) -> String {
    let line = |seq: u64| format!("{{\"seq\":{seq},\"fill\":\"{}\"}}\n", "x".repeat(seq as usize * 7 % 50));
    (from..from + count).map(line).collect()
}

fn batch(from: u64, count: u64) -> Batch {
    Batch {
        lines: Zeroizing::new(text(from, count).into_bytes()),
        first: from,
        next: from + count,
        leaf: String::new(),
        cluster: String::new(),
    }
}

/// Whenever the process is killed, and whenever the file is renamed: the files hold each line once, whole, and in order.
#[test]
fn each_line_is_there_once_wherever_a_crash_comes() {
    for seed in 0..40 {
        let entropy = SimulatedEntropy::new(seed);
        let random = |below: u64| {
            let mut bytes = [0; 8];
            entropy.fill(&mut bytes);
            u64::from_be_bytes(bytes) % below
        };
        let mut bed = Bed::new();
        for step in 0..25 {
            let count = 1 + random(20);
            let zeros = if random(4) == 0 { random(100) as usize } else { 0 };
            match random(6) {
                0 | 1 => bed.put(count).unwrap(),
                2 => bed.crash(count, Point::Before),
                3 => bed.crash(
                    count,
                    Point::Behind {
                        bytes: random(2_000) as usize,
                        zeros,
                    },
                ),
                4 => bed.rename(),
                _ => bed.restart(),
            }
            // More than a crash leaves, so that nothing is behind it.
            if random(3) == 0 {
                bed.put(30).unwrap();
                let expected = text(0, bed.writer.cursor.next);
                assert_eq!(bed.lines(), expected, "seed {seed}, step {step}");
            }
        }
    }
}

/// A node that was killed may know less than it wrote, until it has applied the end of the log again.
#[test]
fn lines_that_are_there_already_are_not_written_again() {
    let mut bed = Bed::new();
    bed.put(3).unwrap();
    bed.crash(9, Point::Behind { bytes: 400, zeros: 0 });
    let torn = bed.lines();
    assert!(torn.len() > text(0, 7).len() && !torn.ends_with('\n'), "{torn}");
    bed.put(3).unwrap();
    assert_eq!(bed.lines(), torn, "three of them are there");
    bed.rename();
    bed.put(6).unwrap();
    assert_eq!(bed.lines(), text(0, 12));
}

#[test]
fn what_others_wrote_is_left_alone() {
    let mut bed = Bed::new();
    fs::write(bed.path(), "not ours").unwrap();
    bed.put(2).unwrap();
    let mut expected = format!("not ours\n{}", text(0, 2));
    assert_eq!(bed.lines(), expected);
    OpenOptions::new()
        .append(true)
        .open(bed.path())
        .unwrap()
        .write_all(b"again")
        .unwrap();
    bed.put(2).unwrap();
    expected = format!("{expected}again\n{}", text(2, 2));
    assert_eq!(bed.lines(), expected);
}

#[test]
fn a_file_that_was_cut_goes_on_at_its_end() {
    let mut bed = Bed::new();
    bed.put(5).unwrap();
    let file = OpenOptions::new().write(true).open(bed.path()).unwrap();
    file.set_len(4).unwrap();
    bed.put(2).unwrap();
    assert_eq!(bed.lines(), format!("{}\n{}", &text(0, 1)[..4], text(5, 2)));
    file.set_len(0).unwrap();
    bed.put(1).unwrap();
    assert_eq!(bed.lines(), text(7, 1));
}

/// Abuse cases: 90.
#[test]
fn only_a_regular_file_of_one_writer_is_written() {
    let mut bed = Bed::new();
    let other = bed.path().with_file_name("other");
    fs::write(&other, "").unwrap();
    symlink(&other, bed.path()).unwrap();
    assert!(matches!(bed.put(1), Err(SinkError::NotAFile { .. })));
    fs::remove_file(bed.path()).unwrap();
    fs::create_dir(bed.path()).unwrap();
    assert!(matches!(bed.put(1), Err(SinkError::NotAFile { .. })));
    fs::remove_dir(bed.path()).unwrap();
    bed.put(1).unwrap();
    let mode = fs::metadata(bed.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let mut second = load(&bed.data, &bed.path());
    assert!(matches!(
        second.put(&bed.data, &batch(1, 1)),
        Err(SinkError::Shared { .. })
    ));
    bed.put(1).unwrap();
    assert_eq!(
        (bed.lines(), fs::read_to_string(other).unwrap()),
        (text(0, 2), String::new())
    );
}

#[test]
fn a_renamed_file_is_let_go_of() {
    let mut bed = Bed::new();
    bed.put(1).unwrap();
    bed.writer.transport().release();
    let lock = |path: &Path| {
        let file = fs::File::open(path).unwrap();
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok()
    };
    assert!(!lock(&bed.path()), "it is held while it has its name");
    bed.rename();
    bed.writer.transport().release();
    assert!(lock(&bed.path().with_added_extension("1")), "it is still held");
    bed.put(1).unwrap();
    assert_eq!(bed.lines(), text(0, 2));
}
