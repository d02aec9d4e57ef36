//! What each address has of the node: connections, handshakes, memory.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The memory that clients may make the node hold.
#[derive(Clone)]
pub struct Memory {
    node: Arc<Semaphore>,
    per_address: usize,
}

impl Memory {
    /// So many bytes in all, of which one address gets at most so many.
    #[must_use]
    pub fn new(bytes: usize, per_address: usize) -> Self {
        Self {
            node: Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))),
            per_address: per_address.min(Semaphore::MAX_PERMITS),
        }
    }
}

/// Bytes that are counted until it is dropped.
#[derive(Debug)]
pub struct Held {
    node: OwnedSemaphorePermit,
    address: OwnedSemaphorePermit,
}

impl Held {
    /// Counts these as well.
    pub fn merge(&mut self, more: Self) {
        self.node.merge(more.node);
        self.address.merge(more.address);
    }
}

/// What one address has. It lives as long as a connection of the address.
#[derive(Debug)]
pub struct Share {
    pub(crate) connections: AtomicUsize,
    pub(crate) handshakes: AtomicUsize,
    node: Arc<Semaphore>,
    memory: Arc<Semaphore>,
}

impl Share {
    /// Counts so many bytes; `None` if the address or the node holds too many already.
    #[must_use]
    pub fn hold(&self, bytes: usize) -> Option<Held> {
        let bytes = u32::try_from(bytes).ok()?;
        let address = Arc::clone(&self.memory).try_acquire_many_owned(bytes).ok()?;
        let node = Arc::clone(&self.node).try_acquire_many_owned(bytes).ok()?;
        Some(Held { node, address })
    }
}

/// The shares of all addresses that are connected.
pub(crate) struct Shares {
    memory: Memory,
    by_address: Mutex<HashMap<IpAddr, Weak<Share>>>,
}

impl Shares {
    pub(crate) fn new(memory: Memory) -> Self {
        Self {
            memory,
            by_address: Mutex::default(),
        }
    }

    pub(crate) fn of(&self, address: IpAddr) -> Arc<Share> {
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = by_address.get(&address).and_then(Weak::upgrade) {
            return share;
        }
        // Addresses that have gone are forgotten when a new one comes: there are never more than connections, and twice that.
        if by_address.len() >= FORGET_AT {
            by_address.retain(|_, share| share.strong_count() > 0);
        }
        let share = Arc::new(Share {
            connections: AtomicUsize::new(0),
            handshakes: AtomicUsize::new(0),
            node: Arc::clone(&self.memory.node),
            memory: Arc::new(Semaphore::new(self.memory.per_address)),
        });
        by_address.insert(address, Arc::downgrade(&share));
        share
    }
}

/// The shares of two addresses, without connections. For tests of those who count.
#[doc(hidden)]
#[must_use]
pub fn shares_for_tests(memory: Memory) -> (Arc<Share>, Arc<Share>) {
    let shares = Shares::new(memory);
    (shares.of([127, 0, 0, 1].into()), shares.of([127, 0, 0, 2].into()))
}

/// One of a bounded number, given back when dropped.
pub(crate) struct Place {
    share: Arc<Share>,
    count: fn(&Share) -> &AtomicUsize,
}

impl Place {
    /// Takes one of `max`; `None` if all are taken.
    pub(crate) fn take(share: &Arc<Share>, count: fn(&Share) -> &AtomicUsize, max: usize) -> Option<Self> {
        let place = Self {
            share: Arc::clone(share),
            count,
        };
        let before = count(share).fetch_add(1, Ordering::Relaxed);
        (before < max).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        (self.count)(&self.share).fetch_sub(1, Ordering::Relaxed);
    }
}

/// A table of so many addresses is small.
const FORGET_AT: usize = 8_192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_cannot_take_what_is_everybodys() {
        let shares = Shares::new(Memory::new(100, 60));
        let (one, two) = (shares.of([127, 0, 0, 1].into()), shares.of([127, 0, 0, 2].into()));
        let mut held = one.hold(40).unwrap();
        held.merge(one.hold(20).unwrap());
        assert!(one.hold(1).is_none(), "the address has its 60");
        let other = two.hold(40).unwrap();
        assert!(two.hold(1).is_none(), "the node has its 100");
        drop(held);
        assert!(two.hold(20).is_some());
        drop(other);
        assert!(one.hold(60).is_some());
    }

    #[test]
    fn places_are_given_back() {
        let shares = Shares::new(Memory::new(1, 1));
        let share = shares.of([127, 0, 0, 1].into());
        let take = || Place::take(&share, |share| &share.connections, 2);
        let (first, second) = (take(), take());
        assert!(first.is_some() && second.is_some());
        assert!(take().is_none() && take().is_none(), "a refusal takes no place");
        drop(first);
        assert!(take().is_some());
    }
}
