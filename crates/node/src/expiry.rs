//! Rows whose time is over, and what waits for the sweep: planned a piece at a time. A damaged row stops nothing but itself.

use aumbry_barrier::{DamagedRow, Kind, ObjectOptions, Txn};
use aumbry_engines::kv;
use aumbry_state::{ContainerState, Row, Write, key};
use aumbry_types::ObjectId;
use bytes::Bytes;

/// What a pass over the index of expiry did.
#[derive(Debug, Default)]
pub(crate) struct Expired {
    removed: usize,
    /// The last place in the index whose row is removed: all before it is, but for what cannot be.
    pub(crate) last: Option<Bytes>,
}

impl Expired {
    /// Whether anything is removed.
    pub(crate) const fn is_any(&self) -> bool {
        self.removed > 0
    }

    /// Whether more may have expired than one entry removes.
    pub(crate) const fn is_full(&self) -> bool {
        self.removed == EXPIRE_MAX
    }
}

/// Removes what has expired, after a place in the index or from its beginning. An expired token is refused from its very moment on; this only takes it
/// off the disk. `is_loud` tells of damage that stays.
pub(crate) fn expire(txn: &mut Txn<'_>, after: Option<&[u8]>, is_loud: bool) -> Expired {
    let now = txn.now().0;
    let is_due = |(entry, _): &(Bytes, Bytes)| key::parse_expiry(entry).is_none_or(|(when, _)| when <= now);
    // Most of the time nothing is, and one row tells.
    if !txn.scan_rows(&key::expiry_prefix(), after, 1).iter().any(is_due) {
        return Expired::default();
    }
    let mut last = None;
    let (mut removed, mut damaged, mut stuck) = (0, 0, 0);
    for (entry, _) in txn.scan_rows(&key::expiry_prefix(), after, EXPIRE_MAX + STUCK_MAX) {
        let Some((when, row_key)) = key::parse_expiry(&entry) else {
            continue;
        };
        if when > now || removed == EXPIRE_MAX {
            break;
        }
        // Apply removes no row whose header cannot be read, and no entry of the index without its row.
        let Some(row) = txn.peek_row(&row_key).ok().flatten().filter(|r| r.expires_at == when) else {
            stuck += 1;
            continue;
        };
        removed += 1;
        last = Some(entry);
        damaged += usize::from(!aumbry_auth::expire(txn, row_key, row.kind));
    }
    if damaged > 0 {
        tracing::warn!(
            damaged,
            "expired tokens or secret ids have damaged rows and are removed; compare `aumbry operator status` of the nodes"
        );
    }
    if stuck > 0 && is_loud {
        tracing::warn!(
            stuck,
            "expired rows are too damaged to be removed and are passed over; compare `aumbry operator status` of the nodes"
        );
    }
    Expired { removed, last }
}

/// Removes what is used up, children of what was revoked, and what mounts that are gone held. True if there was something.
pub(crate) fn sweep(txn: &mut Txn<'_>) -> bool {
    let mut total = kv::Swept::default();
    let mut is_any = false;
    for (row_key, row) in txn.scan_rows(&key::work_prefix(), None, WORK_MAX) {
        // As above: a row that cannot be removed is passed over.
        let Some(id) = key::parse_id(&row_key).filter(|_| Row::decode(&row).is_ok()) else {
            continue;
        };
        let label = label_of(txn, &row_key);
        if label == kv::SWEEP_LABEL || label == MOUNTS_LABEL {
            // A directory often has few names: one entry takes several.
            let limit = SWEEP_MAX - total.rows;
            let swept = match label.as_slice() {
                MOUNTS_LABEL => sweep_mounts(txn, id, limit),
                _ => kv::sweep(txn, id, limit),
            };
            total.rows += swept.rows;
            total.damaged += swept.damaged;
            is_any = true;
            if total.rows >= SWEEP_MAX {
                break;
            }
            continue;
        }
        if is_any {
            continue;
        }
        if let Some(damaged) = aumbry_auth::sweep(txn, id, SWEEP_MAX) {
            total.damaged += damaged;
            is_any = true;
            break;
        }
    }
    if total.damaged > 0 {
        tracing::warn!(
            damaged = total.damaged,
            "rows of what was revoked or disabled are damaged and were passed over; compare `aumbry operator status` of the nodes"
        );
    }
    is_any
}

/// Who left work: a mount of an engine, a namespace with such mounts, or a token or an auth method, for which what cannot be read is taken, as it always was.
fn label_of(txn: &mut Txn<'_>, row_key: &Bytes) -> Vec<u8> {
    let work = txn.read_sealed(row_key, Kind::Work).ok().flatten();
    work.map(|work| work.plain.expose().to_vec()).unwrap_or_default()
}

/// Leaves the mounts of engines of a namespace that is gone to the sweep.
pub(crate) fn abandon_mounts(txn: &mut Txn<'_>, container: ObjectId) -> Result<(), DamagedRow> {
    txn.fence_scan(container)?;
    let state = txn.container(container)?;
    if state.children > 0 {
        txn.write(Write::DeleteContainer(container));
        txn.put_row(key::work(container), Kind::Work, MOUNTS_LABEL, ObjectOptions::default());
    } else if state != ContainerState::default() {
        txn.write(Write::ForgetContainer(container));
    }
    Ok(())
}

/// Removes mounts of engines whose namespace is gone. What they hold becomes work of its own.
fn sweep_mounts(txn: &mut Txn<'_>, container: ObjectId, limit: usize) -> kv::Swept {
    let children = txn.some_children(container, limit + 1);
    let total = children.len();
    let (mut removed, mut stuck, mut swept) = (0, 0, kv::Swept::default());
    for (row_key, child) in children.into_iter().take(limit) {
        // Apply removes no row whose header cannot be read.
        if txn.read_row(&row_key).is_err() {
            stuck += 1;
            continue;
        }
        txn.write(Write::Delete(row_key));
        removed += 1;
        // With the work that each leaves.
        swept.rows += 4;
        let left = child.and_then(|child| {
            txn.delete_object(child.id);
            kv::disable(txn, child.id)
        });
        swept.damaged += usize::from(left.is_err());
        if swept.rows >= limit {
            break;
        }
    }
    // Where nothing can be removed any more the rest is left: the container stays revoked.
    swept.damaged += stuck;
    if removed + stuck == total || removed == 0 {
        let is_empty = txn
            .container(container)
            .is_ok_and(|state| state.children == removed as u64);
        if is_empty {
            txn.write(Write::ForgetContainer(container));
        }
        txn.write(Write::Delete(key::work(container)));
    }
    swept
}

/// Tells the work of mounts from that of others.
const MOUNTS_LABEL: &[u8] = b"mounts";

/// Rows that one entry removes; a token takes about four.
const EXPIRE_MAX: usize = 500;
/// Rows that cannot be removed; behind more of them the rest would wait.
const STUCK_MAX: usize = 500;
/// Children that one entry sweeps.
const SWEEP_MAX: usize = 1_000;
/// Work that is looked at to find some that can be done.
const WORK_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aumbry_auth::Caller;
    use aumbry_auth::token::{self, Create, authenticate, create, make_root};
    use aumbry_barrier::{Barrier, DamagedRow, ListCache};
    use aumbry_crypto::keyring::Keyring;
    use aumbry_state::{At, MemoryView, Outcome, Overlay, View, execute};
    use aumbry_types::{LogTime, ObjectId, SecretBytes, SimulatedEntropy, StorageId};

    use super::*;

    struct Bed {
        overlay: Overlay<Arc<dyn View>>,
        barrier: Barrier,
        lists: ListCache,
        entropy: SimulatedEntropy,
        now: u64,
    }

    impl Bed {
        fn new() -> Self {
            let entropy = SimulatedEntropy::new(31);
            Self {
                overlay: Overlay::new(Arc::new(MemoryView::default())),
                barrier: Barrier::new(StorageId::make(&entropy), Keyring::make(&entropy)),
                lists: ListCache::default(),
                entropy,
                now: 1_000,
            }
        }

        fn run<T>(&mut self, plan: impl FnOnce(&mut Txn<'_>) -> T) -> T {
            let now = LogTime(self.now);
            let mut txn = Txn::new(&self.overlay, &self.barrier, &self.lists, &self.entropy, now);
            let planned = plan(&mut txn);
            let command = txn.finish([0; 32]);
            let at = At {
                log_time: self.now,
                ..At::default()
            };
            assert_eq!(execute(&mut self.overlay, &command, at), Outcome::Ok);
            planned
        }

        /// A token for so many seconds; gives its id.
        fn token(&mut self, root: &SecretBytes, ttl_s: u64) -> ObjectId {
            self.run(|txn| {
                let caller: Caller = authenticate(txn, root.expose(), false, "").expect("stands");
                let wanted = Create {
                    ttl_s,
                    ..Create::default()
                };
                let new = create(txn, &caller, false, wanted).expect("root may");
                let found = token::find_by_accessor(txn, &new.info.accessor);
                assert_eq!(found, Ok(None), "not before it is applied");
                ObjectId::from_bytes(aumbry_crypto::token::digest(
                    txn.barrier().keyring().tokens(),
                    new.token.expose(),
                ))
            })
        }

        fn has(&self, id: ObjectId) -> bool {
            self.overlay.get(&key::object(id)).is_some()
        }

        fn set(&mut self, row_key: &Bytes, change: impl FnOnce(&mut Vec<u8>)) {
            let mut bytes = self.overlay.get(row_key).expect("is there").to_vec();
            change(&mut bytes);
            self.overlay.set(row_key.clone(), Some(bytes.into()));
        }
    }

    #[test]
    fn damaged_rows_at_the_head_do_not_stop_expiry() {
        let mut bed = Bed::new();
        let root = bed.run(|txn| make_root(txn, None).expect("is new")).token;
        let body = bed.token(&root, 1);
        let header = bed.token(&root, 2);
        let sound = bed.token(&root, 3);
        let later = bed.token(&root, 60);
        bed.set(&key::object(body), |bytes| *bytes.last_mut().expect("is long") ^= 1);
        bed.set(&key::object(header), |bytes| bytes[0] ^= 0xff);
        // An entry of the index that no row stands behind.
        let stray = key::expiry(1_500, &key::object(later));
        bed.overlay.set(stray, Some(Bytes::new()));
        bed.now += 10_000;
        bed.run(|txn| assert_eq!(token::revoke(txn, body), Err(DamagedRow)));
        assert!(bed.run(|txn| expire(txn, None, true)).is_any());
        assert!(!bed.has(body) && !bed.has(sound) && bed.has(later));
        assert!(bed.has(header), "apply removes no such row");
        assert!(
            !bed.run(|txn| expire(txn, None, true)).is_any(),
            "nothing is left to do, again and again"
        );
        let left = bed.overlay.scan(&key::expiry_prefix(), None, 10).len();
        assert_eq!(left, 3, "the two that are stuck, and one to come");
    }

    #[test]
    fn a_pass_goes_on_where_the_last_one_ended() {
        let mut bed = Bed::new();
        let root = bed.run(|txn| make_root(txn, None).expect("is new")).token;
        let tokens: Vec<ObjectId> = (1..=3).map(|ttl_s| bed.token(&root, ttl_s)).collect();
        bed.now += 2_000;
        let first = bed.run(|txn| expire(txn, None, true));
        assert!(first.is_any() && !first.is_full());
        assert_eq!(
            tokens.iter().map(|token| bed.has(*token)).collect::<Vec<_>>(),
            [false, false, true]
        );
        bed.now += 2_000;
        let after = first.last.expect("something was removed");
        assert!(bed.run(|txn| expire(txn, Some(&after), true)).is_any());
        assert!(!bed.has(tokens[2]));
        // What comes to lie before that place is found from the beginning alone.
        bed.now -= 4_000;
        let early = bed.token(&root, 1);
        bed.now += 4_000;
        assert!(!bed.run(|txn| expire(txn, Some(&after), true)).is_any() && bed.has(early));
        assert!(bed.run(|txn| expire(txn, None, true)).is_any() && !bed.has(early));
    }

    #[test]
    fn damaged_rows_do_not_stop_the_sweep() {
        let mut bed = Bed::new();
        let root = bed.run(|txn| make_root(txn, None).expect("is new")).token;
        let children: Vec<ObjectId> = (0..4).map(|_| bed.token(&root, 60)).collect();
        let id = bed.run(|txn| token::find_by_text(txn, root.expose(), false));
        let id = id.expect("opens").expect("is there");
        bed.run(|txn| token::revoke(txn, id).expect("opens"));
        // Work that cannot be removed, at the head.
        let first = key::work(ObjectId::from_bytes([0; 16]));
        bed.overlay.set(first, Some(Bytes::from_static(b"?")));
        let names = bed.overlay.scan(&key::directory_prefix(id), None, 10);
        bed.set(&names[0].0, |bytes| *bytes.last_mut().expect("is long") ^= 1);
        bed.set(&names[1].0, |bytes| bytes[0] ^= 0xff);
        assert!(bed.run(sweep));
        let left = children.iter().filter(|child| bed.has(**child)).count();
        assert_eq!(left, 2, "those whose names are damaged go when they expire");
        assert!(!bed.run(sweep), "the sweep ends");
        bed.now += 60_000;
        assert!(bed.run(|txn| expire(txn, None, false)).is_any());
        assert!(!children.iter().any(|child| bed.has(*child)));
    }
}
