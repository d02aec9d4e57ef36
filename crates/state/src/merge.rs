//! Changes laid over what a scan finds beneath.

use bytes::Bytes;

/// The rows that a scan finds when `changes` stand before what `base` gives: as [`crate::View::scan`].
///
/// `base` is asked for rows after a key, at most so many. The changes are those of the scan's prefix after `after`, in order of keys.
pub fn merge_scan(
    mut base: impl FnMut(Option<&[u8]>, usize) -> Vec<(Bytes, Bytes)>,
    changes: impl Iterator<Item = (Bytes, Option<Bytes>)>,
    after: Option<&[u8]>,
    limit: usize,
) -> Vec<(Bytes, Bytes)> {
    let mut changes = changes.peekable();
    let mut found = Vec::new();
    let mut cursor: Option<Bytes> = after.map(Bytes::copy_from_slice);
    loop {
        let page = base(cursor.as_deref(), limit);
        let is_last = page.len() < limit;
        for (key, row) in page {
            while let Some((before, change)) = changes.next_if(|(changed, _)| *changed < key) {
                found.extend(change.map(|row| (before, row)));
            }
            match changes.next_if(|(changed, _)| *changed == key) {
                Some((_, change)) => found.extend(change.map(|row| (key.clone(), row))),
                None => found.push((key.clone(), row)),
            }
            cursor = Some(key);
        }
        if is_last {
            let missing = limit.saturating_sub(found.len());
            let rest = changes.by_ref().filter_map(|(key, change)| Some((key, change?)));
            found.extend(rest.take(missing));
        }
        if is_last || found.len() >= limit {
            found.truncate(limit);
            return found;
        }
    }
}
