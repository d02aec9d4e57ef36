//! What is cut, what is refused, and where a read begins.

use super::*;

/// The body of an index; each has two records, so that sequence numbers are not indexes.
fn body(index: u64) -> (u64, u64, Vec<u8>) {
    (index, index * 2, format!("body {index}").into_bytes())
}

fn bodies(indexes: std::ops::Range<u64>) -> Vec<(u64, u64, Vec<u8>)> {
    indexes.map(body).collect()
}

/// Bodies in segments of a few bodies each.
fn small(dir: &Path, applied: Option<u64>) -> AuditSegments {
    let mut segments = AuditSegments::open(dir, applied).unwrap();
    segments.rotate_bytes = 100;
    segments
}

fn all(segments: &AuditSegments) -> Vec<(u64, u64, Vec<u8>)> {
    let mut bodies = Vec::new();
    segments.export(0, u64::MAX, |index, seq, body| bodies.push((index, seq, body.to_vec())));
    bodies
}

fn refused(dir: &Path, applied: u64) -> String {
    match AuditSegments::open(dir, applied) {
        Err(error @ StorageError::Damaged { .. }) => error.to_string(),
        other => panic!("{:?}", other.map(|segments| segments.next_index())),
    }
}

fn files_of(dir: &Path) -> Vec<PathBuf> {
    let dir = dir.join("1");
    files::names(&dir).unwrap().iter().map(|name| dir.join(name)).collect()
}

#[test]
fn what_is_beyond_the_applied_index_is_cut() {
    for applied in [Some(19), Some(18), Some(7), Some(0), None] {
        let dir = tempfile::tempdir().unwrap();
        let segments = small(dir.path(), None);
        assert_eq!(segments.next_index(), None);
        segments.append(&bodies(0..7));
        segments.append(&bodies(7..20));
        segments.sync();
        assert!(files_of(dir.path()).len() > 3);
        assert_eq!(all(&segments), bodies(0..20));
        drop(segments);

        let end = applied.map_or(0, |applied| applied + 1);
        let segments = small(dir.path(), applied);
        assert_eq!(all(&segments), bodies(0..end), "{applied:?}");
        assert_eq!(segments.next_index(), applied.map(|applied| applied + 1));
        segments.append(&bodies(end..25));
        drop(segments);
        assert_eq!(all(&small(dir.path(), Some(24))), bodies(0..25));
    }
}

#[test]
fn a_torn_end_is_cut_and_damage_below_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let segments = small(dir.path(), None);
    segments.append(&bodies(0..20));
    drop(segments);
    let paths = files_of(dir.path());
    let whole = fs::read(&paths[1]).unwrap();

    for byte in [0, 5, 13, 21, 24, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[byte] ^= 0x40;
        fs::write(&paths[1], &damaged).unwrap();
        assert!(refused(dir.path(), 19).contains("damaged"), "byte {byte}");
    }
    fs::write(&paths[1], &whole[..whole.len() - 1]).unwrap();
    refused(dir.path(), 19);
    fs::remove_file(&paths[1]).unwrap();
    refused(dir.path(), 19);
    fs::write(&paths[1], &whole).unwrap();
    refused(dir.path(), 20);

    let last = paths.last().unwrap();
    let torn = fs::read(last).unwrap();
    fs::write(last, &torn[..torn.len() - 3]).unwrap();
    refused(dir.path(), 19);
    assert_eq!(all(&small(dir.path(), Some(18))), bodies(0..19));
}

#[test]
fn no_audit_for_an_applied_state_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(refused(dir.path(), 3).contains("no audit"));
    let segments = AuditSegments::open(dir.path(), 0).unwrap();
    segments.append(&bodies(0..1));
    drop(segments);
    let segments = AuditSegments::open(dir.path(), 0).unwrap();
    segments.append(&bodies(0..2));
    assert_eq!(all(&segments), bodies(0..2), "the last body may come once more");
}

#[test]
fn a_read_begins_with_the_body_that_contains_the_record() {
    let dir = tempfile::tempdir().unwrap();
    let segments = small(dir.path(), None);
    assert!(segments.read(0, 5).is_empty());
    segments.append(&bodies(0..20));
    for (from_seq, limit, expected) in [
        (0, 3, 0..3),
        (1, 3, 0..3),
        (2, 3, 1..4),
        (17, 100, 8..20),
        (39, 5, 19..20),
        (1000, 5, 19..20),
        (5, 0, 2..2),
    ] {
        let expected: Vec<_> = bodies(expected).into_iter().map(|(_, _, body)| body).collect();
        assert_eq!(segments.read(from_seq, limit), expected, "{from_seq} {limit}");
    }
}

#[test]
fn an_export_ends_at_the_index() {
    let dir = tempfile::tempdir().unwrap();
    let segments = small(dir.path(), None);
    segments.append(&bodies(0..20));
    let mut seen = Vec::new();
    segments.export(0, 12, |index, seq, body| seen.push((index, seq, body.to_vec())));
    assert_eq!(seen, bodies(0..13));
}

#[test]
fn whole_files_below_the_floor_go_and_the_rest_is_read_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let segments = small(dir.path(), None);
    segments.append(&bodies(0..20));
    let names = files_of(dir.path());
    let second = names[1].file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap();
    assert!(names.len() > 3 && !segments.has_before(second - 1) && segments.has_before(second));
    segments.prune(second - 1);
    assert_eq!(
        files_of(dir.path()),
        names,
        "a file that has a record from there on stays whole"
    );

    // One reads on while it is pruned behind it, and in front of it.
    let mut seen = Vec::new();
    segments.export(0, u64::MAX, |index, seq, body| {
        segments.prune(index * 2);
        seen.push((index, seq, body.to_vec()));
    });
    assert_eq!(seen, bodies(0..20));

    let dir = tempfile::tempdir().unwrap();
    let segments = small(dir.path(), None);
    segments.append(&bodies(0..20));
    let names = files_of(dir.path());
    segments.prune(21);
    let left = files_of(dir.path());
    assert!(left.len() < names.len() && left[..] == names[names.len() - left.len()..]);
    segments.prune(21);
    segments.prune(9);
    assert_eq!(files_of(dir.path()), left, "twice, and lower, is nothing more");
    let mut seen = Vec::new();
    segments.export(21, u64::MAX, |index, seq, body| seen.push((index, seq, body.to_vec())));
    assert_eq!(seen, bodies(10..20));
    let mut seen = Vec::new();
    segments.export(39, u64::MAX, |index, seq, body| seen.push((index, seq, body.to_vec())));
    assert_eq!(seen, bodies(19..20), "the last one alone");
    let read: Vec<_> = bodies(11..14).into_iter().map(|(_, _, body)| body).collect();
    assert_eq!(segments.read(22, 3), read);
    segments.append(&bodies(20..25));
    segments.sync();
    drop(segments);

    // Rows that do not know of the floor are older than what was pruned, which never happens by itself.
    assert!(refused(dir.path(), 24).contains("missing"));
    let segments = AuditSegments::open_above(dir.path(), 24, 21).unwrap();
    assert_eq!(segments.next_index(), Some(25));
    drop(segments);
    // Beyond the end, all but the last file goes.
    let segments = AuditSegments::open_above(dir.path(), 24, 21).unwrap();
    segments.prune(u64::MAX);
    assert_eq!((segments.next_index(), files_of(dir.path()).len()), (Some(25), 1));
    segments.append(&bodies(25..26));
    drop(segments);
    assert!(
        AuditSegments::open_above(dir.path(), 25, 21).is_err(),
        "more is missing than the floor says"
    );
}

/// A snapshot that begins at its floor was put here, and the process died before the rows were.
#[test]
fn what_is_about_to_be_replaced_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    small(dir.path(), None).append(&bodies(0..5));
    AuditSegments::replace_all(dir.path(), bodies(50..60)).unwrap();
    refused(dir.path(), 4);
    drop(AuditSegments::open_none(dir.path()).unwrap());
    let segments = AuditSegments::open_above(dir.path(), 59, 100).unwrap();
    assert_eq!(all(&segments), bodies(50..60));
}

#[test]
fn replacing_is_all_or_nothing_and_goes_before_the_rows() {
    let dir = tempfile::tempdir().unwrap();
    let old = small(dir.path(), None);
    old.append(&bodies(0..5));
    AuditSegments::replace_all(dir.path(), bodies(0..50)).unwrap();
    assert_eq!(all(&old), bodies(0..5));
    // The process dies before the rows are installed: they still say 4.
    let segments = AuditSegments::open(dir.path(), 4).unwrap();
    assert_eq!(all(&segments), bodies(0..5));
    assert_eq!(all(&old), bodies(0..5), "who has the old files open keeps them");
}
