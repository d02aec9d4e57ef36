//! One command against the state: check everything, then change everything, or nothing.

use std::collections::BTreeSet;
use std::ops::Deref;

use aumbry_audit::Outcome;
use aumbry_types::ObjectId;
use bytes::Bytes;

use crate::command::{Command, Counters, Precondition, Put, Write};
use crate::container::ContainerState;
use crate::key;
use crate::overlay::Overlay;
use crate::row::{Rev, Row};
use crate::touched::{Reads, Touched};
use crate::view::View;

/// Where and when a command stands in the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct At {
    /// The position.
    pub rev: Rev,
    /// The log time in milliseconds.
    pub log_time: u64,
}

/// Executes a command. On any outcome but [`Outcome::Ok`] the state is as before.
///
/// The leader calls this too, on commands in flight, with a position of zero: no precondition looks at positions.
pub fn execute<'a, V>(state: &mut Overlay<V>, command: &Command, at: At) -> Outcome
where
    V: Deref<Target = dyn View + 'a>,
{
    execute_after(state, Reads::default(), command, at)
}

/// As [`execute`], with what the plan has read of the same state.
pub fn execute_after<'a, V>(state: &mut Overlay<V>, reads: Reads, command: &Command, at: At) -> Outcome
where
    V: Deref<Target = dyn View + 'a>,
{
    let mut state = Touched::new(state, reads);
    let checked = command
        .preconditions
        .iter()
        .try_for_each(|p| check(&state, p, at.log_time));
    let Err(refused) = checked.and_then(|()| check_writes(&state, &command.writes)) else {
        for write in &command.writes {
            change(&mut state, command, write, at);
        }
        return Outcome::Ok;
    };
    refused
}

fn check<'a, V>(state: &Touched<'_, V>, precondition: &Precondition, log_time: u64) -> Result<(), Outcome>
where
    V: Deref<Target = dyn View + 'a>,
{
    let holds = |held: bool| if held { Ok(()) } else { Err(Outcome::Conflict) };
    match precondition {
        Precondition::RowIs(key, writer) => holds(row(state, key)?.is_some_and(|r| r.writer == *writer)),
        Precondition::Absent(key) => holds(state.get(key).is_none()),
        Precondition::ContainerGen(id, generation) => holds(container(state, *id)?.generation == *generation),
        Precondition::ContainerScan(id, scan) => holds(container(state, *id)?.scan == *scan),
        Precondition::AuthGen(namespace, generation) => {
            let current = row(state, &key::auth_generation(*namespace))?.map_or(0, |r| r.counters[0]);
            holds(current == *generation)
        }
        Precondition::NotExpired(key) => match row(state, key)? {
            Some(row) if !row.is_expired(log_time) => Ok(()),
            _ => Err(Outcome::Expired),
        },
        Precondition::CounterAtLeast(key, slot, n) => match row(state, key)? {
            Some(row) if row.counters[usize::from(slot.index())] >= *n => Ok(()),
            _ => Err(Outcome::Exhausted),
        },
    }
}

/// Checks what the writes themselves demand. Each is checked against the state before the command: a command that names one counter
/// twice is refused, as the second check would not see the first change.
fn check_writes<'a, V>(state: &Touched<'_, V>, writes: &[Write]) -> Result<(), Outcome>
where
    V: Deref<Target = dyn View + 'a>,
{
    let mut counted: BTreeSet<(&Bytes, u8)> = BTreeSet::new();
    for (position, write) in writes.iter().enumerate() {
        match write {
            Write::Put(put) => {
                if let Some(id) = key::parse_directory(&put.key)
                    && container(state, id)?.revoked
                {
                    return Err(Outcome::Conflict);
                }
                row(state, &put.key)?;
            }
            Write::Delete(key) => {
                row(state, key)?;
            }
            Write::DeleteContainer(id) => {
                container(state, *id)?;
            }
            Write::ForgetContainer(id) => check_empty(state, *id, &writes[..position])?,
            Write::CounterAdd {
                key,
                slot,
                delta,
                floor,
            } => {
                if !counted.insert((key, slot.index())) {
                    return Err(Outcome::Rejected);
                }
                let current = row(state, key)?.ok_or(Outcome::Conflict)?.counters[usize::from(slot.index())];
                match current.checked_add_signed(*delta) {
                    Some(next) if next >= *floor => {}
                    _ => return Err(Outcome::Exhausted),
                }
            }
        }
    }
    Ok(())
}

/// A container can be forgotten if the writes before it in the same command leave it empty. A child named twice goes once, and a
/// child entered by the same command would be left without a container.
fn check_empty<'a, V>(state: &Touched<'_, V>, id: ObjectId, before: &[Write]) -> Result<(), Outcome>
where
    V: Deref<Target = dyn View + 'a>,
{
    let mut removed: BTreeSet<&Bytes> = BTreeSet::new();
    for write in before {
        match write {
            Write::Put(put) if key::parse_directory(&put.key) == Some(id) => {
                return Err(Outcome::Conflict);
            }
            Write::Delete(key) if key::parse_directory(key) == Some(id) && state.get(key).is_some() => {
                removed.insert(key);
            }
            _ => {}
        }
    }
    if container(state, id)?.children == removed.len() as u64 {
        Ok(())
    } else {
        Err(Outcome::Conflict)
    }
}

fn change<'a, V>(state: &mut Touched<'_, V>, command: &Command, write: &Write, at: At)
where
    V: Deref<Target = dyn View + 'a>,
{
    match write {
        Write::Put(put) => put_row(state, command, put, at),
        Write::Delete(key) => delete_row(state, key),
        Write::DeleteContainer(id) => {
            let mut next = container(state, *id).unwrap_or_default();
            next.generation += 1;
            next.revoked = true;
            state.set(key::container(*id), Some(next.encode()));
        }
        Write::ForgetContainer(id) => state.set(key::container(*id), None),
        Write::CounterAdd { key, slot, delta, .. } => {
            if let Ok(Some(mut row)) = row(state, key) {
                let counter = &mut row.counters[usize::from(slot.index())];
                *counter = counter.saturating_add_signed(*delta);
                state.set(key.clone(), Some(row.encode()));
            }
        }
    }
}

fn put_row<'a, V>(state: &mut Touched<'_, V>, command: &Command, put: &Put, at: At)
where
    V: Deref<Target = dyn View + 'a>,
{
    let before = row(state, &put.key).unwrap_or_default();
    if before.is_none()
        && let Some(id) = key::parse_directory(&put.key)
    {
        let mut next = container(state, id).unwrap_or_default();
        next.children += 1;
        next.scan += 1;
        state.set(key::container(id), Some(next.encode()));
    }
    let row = Row {
        kind: put.kind,
        flags: 0,
        rev: at.rev,
        writer: command.id,
        created: before.as_ref().map_or(at.log_time, |row| row.created),
        expires_at: put.expires_at,
        counters: match put.counters {
            Counters::Keep => before.as_ref().map_or([0, 0], |row| row.counters),
            Counters::Set(counters) => counters,
        },
        key_term: put.key_term,
        container: put.container,
        body: put.body.clone(),
    };
    index_expiry(state, &put.key, before.map_or(0, |row| row.expires_at), row.expires_at);
    state.set(put.key.clone(), Some(row.encode()));
}

fn delete_row<'a, V>(state: &mut Touched<'_, V>, row_key: &Bytes)
where
    V: Deref<Target = dyn View + 'a>,
{
    let Ok(Some(before)) = row(state, row_key) else {
        return;
    };
    if let Some(id) = key::parse_directory(row_key)
        && let Ok(mut next) = container(state, id)
        && next.children > 0
    {
        next.children -= 1;
        next.scan += 1;
        state.set(key::container(id), Some(next.encode()));
    }
    index_expiry(state, row_key, before.expires_at, 0);
    state.set(row_key.clone(), None);
}

fn index_expiry<'a, V>(state: &mut Touched<'_, V>, row_key: &[u8], before: u64, after: u64)
where
    V: Deref<Target = dyn View + 'a>,
{
    if before == after {
        return;
    }
    if before != 0 {
        state.set(key::expiry(before, row_key), None);
    }
    if after != 0 {
        state.set(key::expiry(after, row_key), Some(Bytes::new()));
    }
}

/// A row that does not decode was written by no command: nothing may be built on it.
fn row<'a, V>(state: &Touched<'_, V>, key: &Bytes) -> Result<Option<Row>, Outcome>
where
    V: Deref<Target = dyn View + 'a>,
{
    state
        .get(key)
        .map(|bytes| Row::decode(&bytes))
        .transpose()
        .map_err(|_| Outcome::Rejected)
}

fn container<'a, V>(state: &Touched<'_, V>, id: ObjectId) -> Result<ContainerState, Outcome>
where
    V: Deref<Target = dyn View + 'a>,
{
    let stored = state.get(&key::container(id));
    let decoded = stored.map(|bytes| ContainerState::decode(&bytes)).transpose();
    decoded.map(Option::unwrap_or_default).map_err(|_| Outcome::Rejected)
}
