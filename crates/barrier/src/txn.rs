//! One plan: reads of plaintext, writes of plaintext, and the command that they become.

use std::collections::BTreeMap;
use std::sync::Arc;

use aumbry_state::{Command, ContainerState, Counters, Overlay, Precondition, Put, Reads, Row, Slot, View, Write, key};
use aumbry_types::{CommandId, Entropy, LogTime, ObjectId, SecretBytes};
use bytes::Bytes;

use crate::{Barrier, DamagedRow, Kind, Limits, ListCache};

/// The root namespace.
pub const NAMESPACE_ROOT: ObjectId = ObjectId::well_known(1);

/// An object as its engine sees it.
pub struct Object {
    /// The plaintext.
    pub plain: SecretBytes,
    /// When it was first written, in log time (ms).
    pub created: LogTime,
    /// When it expires, in log time (ms); 0 is never.
    pub expires_at: u64,
    /// Its counters.
    pub counters: [u64; 2],
    /// The container it belongs to.
    pub container: ObjectId,
}

/// The clear header fields of an object that is written.
#[derive(Debug, Clone, Copy)]
pub struct ObjectOptions {
    /// When it expires, in log time (ms); 0 is never.
    pub expires_at: u64,
    /// What becomes of its counters.
    pub counters: Counters,
    /// The container it belongs to.
    pub container: ObjectId,
}

impl Default for ObjectOptions {
    fn default() -> Self {
        Self {
            expires_at: 0,
            counters: Counters::Keep,
            container: ObjectId::well_known(0),
        }
    }
}

/// A plan in the making.
///
/// Writes are not seen by later reads of the same plan: engines read first, then write.
pub struct Txn<'a> {
    namespace: ObjectId,
    state: &'a Overlay<Arc<dyn View>>,
    barrier: &'a Barrier,
    lists: &'a ListCache,
    entropy: &'a dyn Entropy,
    now: LogTime,
    id: CommandId,
    /// Rows read, with the command that wrote each, or `None` for a row that was not there.
    reads: BTreeMap<Bytes, Option<CommandId>>,
    looked_up: Reads,
    generations: BTreeMap<ObjectId, u64>,
    scans: BTreeMap<ObjectId, u64>,
    fence: Vec<Precondition>,
    /// Changes that stand even if the plan is abandoned: the use of a counted token.
    fence_writes: Vec<Write>,
    writes: Vec<Write>,
    limits: Option<Arc<Limits>>,
    /// How many children were entered, less those removed, where anything is limited.
    noted: BTreeMap<ObjectId, i64>,
}

impl<'a> Txn<'a> {
    /// Begins a plan on this state at this log time.
    #[must_use]
    pub fn new(
        state: &'a Overlay<Arc<dyn View>>,
        barrier: &'a Barrier,
        lists: &'a ListCache,
        entropy: &'a dyn Entropy,
        now: LogTime,
    ) -> Self {
        Self {
            namespace: NAMESPACE_ROOT,
            state,
            barrier,
            lists,
            entropy,
            now,
            id: CommandId::make(entropy),
            reads: BTreeMap::new(),
            looked_up: Reads::default(),
            generations: BTreeMap::new(),
            scans: BTreeMap::new(),
            fence: Vec::new(),
            fence_writes: Vec::new(),
            writes: Vec::new(),
            limits: None,
            noted: BTreeMap::new(),
        }
    }

    /// The namespace that names are looked up in. It is the root's if nothing else is said.
    #[must_use]
    pub const fn namespace(&self) -> ObjectId {
        self.namespace
    }

    /// Goes to another namespace. Gives the one before, for who comes back.
    pub const fn enter_namespace(&mut self, namespace: ObjectId) -> ObjectId {
        core::mem::replace(&mut self.namespace, namespace)
    }

    /// Sets what is limited in the namespace that the plan is in; nothing, if nothing is.
    pub fn set_limits(&mut self, limits: Option<Arc<Limits>>) {
        self.limits = limits;
    }

    /// What is limited.
    #[must_use]
    pub fn limits(&self) -> Option<&Arc<Limits>> {
        self.limits.as_ref()
    }

    pub(crate) fn note_child(&mut self, container: ObjectId, change: i64) {
        *self.noted.entry(container).or_default() += change;
    }

    pub(crate) fn noted_children(&self, container: ObjectId) -> i64 {
        self.noted.get(&container).copied().unwrap_or_default()
    }

    /// The log time of the plan. The entry's own is the same or a little later.
    #[must_use]
    pub const fn now(&self) -> LogTime {
        self.now
    }

    /// Randomness.
    #[must_use]
    pub const fn entropy(&self) -> &'a dyn Entropy {
        self.entropy
    }

    /// The keys.
    #[must_use]
    pub const fn barrier(&self) -> &'a Barrier {
        self.barrier
    }

    /// How many changes are planned so far, for plans that take as much as one command holds.
    #[must_use]
    pub const fn write_count(&self) -> usize {
        self.writes.len()
    }

    /// Whether nothing is written so far.
    #[must_use]
    pub const fn is_read_only(&self) -> bool {
        self.writes.is_empty()
    }

    /// Forgets what was to be written: the plan was refused, and only its record remains.
    ///
    /// What was read is kept. A refusal that rests on a change still in flight, such as "another version is current", must not be
    /// told if that change is lost.
    pub fn abandon(&mut self) {
        self.writes.clear();
        self.noted.clear();
    }

    /// Reads an object.
    ///
    /// # Errors
    /// [`DamagedRow`] if it is of another kind or does not open.
    pub fn read_object(&mut self, id: ObjectId, kind: Kind) -> Result<Option<Object>, DamagedRow> {
        let row_key = key::object(id);
        let row = self.read_row(&row_key)?;
        row.map(|row| self.open_object(&row_key, &row, kind)).transpose()
    }

    /// Reads an object without recording it. For what the authorisation generation covers, and for hints.
    ///
    /// # Errors
    /// [`DamagedRow`] if it is of another kind or does not open.
    pub fn peek_object(&self, id: ObjectId, kind: Kind) -> Result<Option<Object>, DamagedRow> {
        let row_key = key::object(id);
        let row = self.peek_row(&row_key)?;
        row.map(|row| self.open_object(&row_key, &row, kind)).transpose()
    }

    /// Writes an object whole.
    pub fn put_object(&mut self, id: ObjectId, kind: Kind, plain: &[u8], options: ObjectOptions) {
        self.put_row(key::object(id), kind, plain, options);
    }

    /// Removes an object.
    pub fn delete_object(&mut self, id: ObjectId) {
        self.write(Write::Delete(key::object(id)));
    }

    /// Reads one version of an object's data.
    ///
    /// # Errors
    /// [`DamagedRow`] if it does not open.
    pub fn read_version(&mut self, id: ObjectId, version: u64) -> Result<Option<SecretBytes>, DamagedRow> {
        let row_key = key::version(id, version);
        let Some(row) = self.read_row(&row_key)? else {
            return Ok(None);
        };
        self.barrier
            .open_value(&row_key, Kind::SecretVersion, &row.body)
            .map(Some)
    }

    /// Writes one version of an object's data, under a key of its own.
    pub fn put_version(&mut self, id: ObjectId, version: u64, plain: &[u8]) {
        let row_key = key::version(id, version);
        let (key_term, body) = self
            .barrier
            .seal_value(&row_key, Kind::SecretVersion, plain, self.entropy);
        self.write(Write::Put(Put {
            key: row_key,
            kind: Kind::SecretVersion as u8,
            expires_at: 0,
            counters: Counters::Keep,
            key_term,
            container: id,
            body,
        }));
    }

    /// Removes one version of an object's data.
    pub fn delete_version(&mut self, id: ObjectId, version: u64) {
        self.write(Write::Delete(key::version(id, version)));
    }

    /// Reads a sealed row by its key.
    ///
    /// # Errors
    /// [`DamagedRow`] if it is of another kind or does not open.
    pub fn read_sealed(&mut self, row_key: &Bytes, kind: Kind) -> Result<Option<Object>, DamagedRow> {
        let row = self.read_row(row_key)?;
        row.map(|row| self.open_object(row_key, &row, kind)).transpose()
    }

    /// Seals and writes a row by its key.
    pub fn put_row(&mut self, row_key: Bytes, kind: Kind, plain: &[u8], options: ObjectOptions) {
        let put = self.seal_row(row_key, kind, plain, options);
        self.write(put);
    }

    /// As [`Self::put_row`], but the row is written even if the plan is abandoned.
    pub fn fence_row(&mut self, row_key: Bytes, kind: Kind, plain: &[u8], options: ObjectOptions) {
        let put = self.seal_row(row_key, kind, plain, options);
        self.fence_write(put);
    }

    /// Adds a change as it is.
    pub fn write(&mut self, write: Write) {
        self.writes.push(write);
    }

    /// Adds a precondition that holds for reads too.
    pub fn fence(&mut self, precondition: Precondition) {
        if !self.fence.contains(&precondition) {
            self.fence.push(precondition);
        }
    }

    /// Adds a change that stands even if the plan is abandoned.
    pub fn fence_write(&mut self, write: Write) {
        self.fence_writes.push(write);
    }

    /// The state of a container, unrecorded.
    ///
    /// # Errors
    /// [`DamagedRow`]
    pub fn container(&self, id: ObjectId) -> Result<ContainerState, DamagedRow> {
        let stored = self.look_up(&key::container(id));
        let decoded = stored.map(|bytes| ContainerState::decode(&bytes)).transpose();
        decoded.map(Option::unwrap_or_default).map_err(|_| DamagedRow)
    }

    /// The generation of a container, recorded: the plan is refused if it was revoked since.
    ///
    /// # Errors
    /// [`DamagedRow`]
    pub fn fence_generation(&mut self, id: ObjectId) -> Result<u64, DamagedRow> {
        let generation = self.container(id)?.generation;
        self.generations.insert(id, generation);
        Ok(generation)
    }

    /// The count of insertions and removals of a container, recorded.
    ///
    /// # Errors
    /// [`DamagedRow`]
    pub fn fence_scan(&mut self, id: ObjectId) -> Result<u64, DamagedRow> {
        let scan = self.container(id)?.scan;
        self.scans.insert(id, scan);
        Ok(scan)
    }

    /// The generation of everything that decides access in a namespace, unrecorded.
    ///
    /// # Errors
    /// [`DamagedRow`]
    pub fn auth_generation(&self, namespace: ObjectId) -> Result<u64, DamagedRow> {
        Ok(self
            .peek_row(&key::auth_generation(namespace))?
            .map_or(0, |row| row.counters[0]))
    }

    /// Bumps that generation: every plan made before, and not yet applied, is refused.
    pub fn bump_auth_generation(&mut self, namespace: ObjectId) {
        let key = key::auth_generation(namespace);
        self.write(Write::CounterAdd {
            key,
            slot: Slot::First,
            delta: 1,
            floor: 0,
        });
    }

    /// The row with this key, recorded.
    ///
    /// # Errors
    /// [`DamagedRow`]
    pub fn read_row(&mut self, row_key: &Bytes) -> Result<Option<Row>, DamagedRow> {
        let row = self.peek_row(row_key)?;
        self.reads.insert(row_key.clone(), row.as_ref().map(|row| row.writer));
        Ok(row)
    }

    /// The row with this key, unrecorded.
    ///
    /// # Errors
    /// [`DamagedRow`]
    pub fn peek_row(&self, row_key: &Bytes) -> Result<Option<Row>, DamagedRow> {
        self.look_up(row_key)
            .map(|bytes| Row::decode(&bytes))
            .transpose()
            .map_err(|_| DamagedRow)
    }

    fn look_up(&self, row_key: &Bytes) -> Option<Bytes> {
        self.looked_up.get(self.state, row_key)
    }

    /// Whether a change of the row is in flight, or may be: what is read of it may not come to pass.
    #[must_use]
    pub fn is_in_flight(&self, row_key: &[u8]) -> bool {
        self.state.is_changed(row_key)
    }

    /// Rows with this prefix, unrecorded.
    #[must_use]
    pub fn scan_rows(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<(Bytes, Bytes)> {
        self.state.scan(prefix, after, limit)
    }

    pub(crate) const fn lists(&self) -> &'a ListCache {
        self.lists
    }

    /// The command, with the commitment to its audit record.
    ///
    /// A plan that writes depends on all that it read. One that only reads depends on its fence, and on rows that are still in
    /// flight: all others cannot change before its place in the log, because every change passes the same sequencer.
    #[must_use]
    pub fn finish(self, commitment: [u8; 32]) -> Command {
        self.finish_with_reads(commitment).0
    }

    /// As [`Self::finish`], with all that was read of the state.
    #[must_use]
    pub fn finish_with_reads(self, commitment: [u8; 32]) -> (Command, Reads) {
        let writes_something = !self.writes.is_empty();
        let depends = |row_key: &Bytes| writes_something || self.state.is_changed(row_key);
        let mut preconditions = self.fence;
        for (row_key, writer) in &self.reads {
            if depends(row_key) {
                preconditions.push(match writer {
                    Some(writer) => Precondition::RowIs(row_key.clone(), *writer),
                    None => Precondition::Absent(row_key.clone()),
                });
            }
        }
        for (id, generation) in &self.generations {
            if depends(&key::container(*id)) {
                preconditions.push(Precondition::ContainerGen(*id, *generation));
            }
        }
        for (id, scan) in &self.scans {
            if depends(&key::container(*id)) {
                preconditions.push(Precondition::ContainerScan(*id, *scan));
            }
        }
        let mut writes = self.fence_writes;
        writes.extend(self.writes);
        let command = Command {
            id: self.id,
            preconditions,
            writes,
            commitment,
        };
        (command, self.looked_up)
    }

    fn seal_row(&self, row_key: Bytes, kind: Kind, plain: &[u8], options: ObjectOptions) -> Write {
        let (key_term, body) = self.barrier.seal(&row_key, kind, plain, self.entropy);
        Write::Put(Put {
            key: row_key,
            kind: kind as u8,
            expires_at: options.expires_at,
            counters: options.counters,
            key_term,
            container: options.container,
            body,
        })
    }

    fn open_object(&self, row_key: &[u8], row: &Row, kind: Kind) -> Result<Object, DamagedRow> {
        if row.kind != kind as u8 {
            return Err(DamagedRow);
        }
        Ok(Object {
            plain: self.barrier.open(row_key, kind, &row.body)?,
            created: LogTime(row.created),
            expires_at: row.expires_at,
            counters: row.counters,
            container: row.container,
        })
    }
}
