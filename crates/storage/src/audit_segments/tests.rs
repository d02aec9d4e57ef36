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
    segments.export(u64::MAX, |index, seq, body| bodies.push((index, seq, body.to_vec())));
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
    segments.export(12, |index, seq, body| seen.push((index, seq, body.to_vec())));
    assert_eq!(seen, bodies(0..13));
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
