//! The network: connections that carry bytes in order, over links that are slow, lose, stall, or are cut in one direction or both.
//!
//! It is modelled at the level of TCP: bytes of a connection arrive in order and once, or not at all. A lost packet is sent again later, so loss shows as
//! delay; a link that is cut holds what is sent, and lets it through some time after it was mended. Different connections of two hosts overtake each
//! other. A host whose process ended answers with resets as long as the machine is there; one without power says nothing.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::task::{Context, Poll, Waker};

use bytes::{Buf as _, Bytes};

use crate::{HostId, World, with};

/// What a direction between two hosts is like.
#[derive(Clone, Copy, Debug)]
pub struct Quality {
    /// The shortest time that something takes.
    pub delay_ms: u64,
    /// What comes on top, by chance, at most.
    pub jitter_ms: u64,
    /// How many of a hundred packets are lost, and sent again.
    pub loss_percent: u64,
}

impl Default for Quality {
    fn default() -> Self {
        Self {
            delay_ms: 1,
            jitter_ms: 1,
            loss_percent: 0,
        }
    }
}

#[derive(Default)]
struct Link {
    quality: Quality,
    is_cut: bool,
    held: VecDeque<Event>,
}

#[derive(Debug)]
enum Event {
    /// Wants to connect.
    Syn(u64),
    /// Is accepted, or not.
    SynAnswer(u64, bool),
    Data(u64, usize, Bytes),
    Fin(u64, usize),
    Reset(u64, usize),
}

#[derive(Default)]
struct End {
    host: HostId,
    /// Whether somebody holds it.
    is_open: bool,
    inbox: VecDeque<Bytes>,
    is_finished: bool,
    is_reset: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// What this end has sent and the other has not read.
    unread: usize,
    /// When the last of what this end has sent arrives.
    last_ms: u64,
}

struct Conn {
    ends: [End; 2],
    /// What became of the connection attempt; none while it is open.
    connected: Option<bool>,
    connecting: Option<Waker>,
}

#[derive(Default)]
struct Listener {
    queue: VecDeque<u64>,
    waker: Option<Waker>,
}

/// All links and connections.
#[derive(Default)]
pub(crate) struct Net {
    links: BTreeMap<(HostId, HostId), Link>,
    conns: BTreeMap<u64, Conn>,
    listeners: BTreeMap<HostId, Listener>,
    events: BTreeMap<(u64, u64), (HostId, HostId, Event)>,
    last_conn: u64,
    last_event: u64,
}

impl World {
    /// Puts something onto its way.
    fn send(&mut self, from: HostId, to: HostId, not_before: u64, event: Event) -> u64 {
        let link = self.net.links.entry((from, to)).or_default();
        if link.is_cut {
            link.held.push_back(event);
            return not_before;
        }
        let Quality { delay_ms, jitter_ms, loss_percent } = link.quality;
        let mut at = self.now_ms + delay_ms + self.rng.below(jitter_ms + 1);
        let mut resent = RESEND_MS;
        while loss_percent > 0 && self.rng.percent(loss_percent) && resent < RESEND_MAX_MS {
            at += resent;
            resent *= 2;
            *self.strikes.entry("packet-loss").or_default() += 1;
        }
        let at = at.max(not_before).max(self.now_ms + 1);
        self.net.last_event += 1;
        self.net.events.insert((at, self.net.last_event), (from, to, event));
        at
    }

    /// Sends to the other end of a connection, in order.
    fn send_on(&mut self, conn: u64, side: usize, event: Event) {
        let Some(known) = self.net.conns.get(&conn) else { return };
        let (from, to, last) = (known.ends[side].host, known.ends[1 - side].host, known.ends[side].last_ms);
        let at = self.send(from, to, last, event);
        if let Some(known) = self.net.conns.get_mut(&conn) {
            known.ends[side].last_ms = at;
        }
    }

    /// Lets something arrive. Gives who is to be woken.
    fn arrive(&mut self, from: HostId, to: HostId, event: Event) -> Vec<Waker> {
        let mut wakers = Vec::new();
        if self.net.links.get(&(from, to)).is_some_and(|link| link.is_cut) {
            let link = self.net.links.entry((from, to)).or_default();
            link.held.push_back(event);
            return wakers;
        }
        let target = self.hosts.get(&to);
        let (is_up, is_alive) = target.map_or((false, false), |host| (host.is_machine_up, host.is_process_alive));
        if !is_up {
            return wakers;
        }
        match event {
            Event::Syn(conn) => {
                let listener = self.net.listeners.get_mut(&to).filter(|_| is_alive);
                let is_accepted = match listener {
                    Some(listener) => {
                        listener.queue.push_back(conn);
                        wakers.extend(listener.waker.take());
                        true
                    }
                    None => false,
                };
                self.send_on(conn, 1, Event::SynAnswer(conn, is_accepted));
            }
            Event::SynAnswer(conn, is_accepted) => {
                if let Some(known) = self.net.conns.get_mut(&conn) {
                    known.connected = Some(is_accepted);
                    wakers.extend(known.connecting.take());
                }
            }
            Event::Data(conn, side, bytes) => {
                let Some(known) = self.net.conns.get_mut(&conn) else { return wakers };
                let end = &mut known.ends[side];
                if !end.is_open || !is_alive {
                    self.send_on(conn, side, Event::Reset(conn, 1 - side));
                    return wakers;
                }
                end.inbox.push_back(bytes);
                wakers.extend(end.reader.take());
            }
            Event::Fin(conn, side) => {
                let Some(known) = self.net.conns.get_mut(&conn) else { return wakers };
                known.ends[side].is_finished = true;
                wakers.extend(known.ends[side].reader.take());
            }
            Event::Reset(conn, side) => {
                let Some(known) = self.net.conns.get_mut(&conn) else { return wakers };
                known.ends[side].is_reset = true;
                wakers.extend(known.ends[side].reader.take());
                wakers.extend(known.ends[side].writer.take());
            }
        }
        wakers
    }
}

/// Lets everything arrive whose time has come.
pub(crate) fn deliver() {
    loop {
        let wakers = with(|world| {
            let (at, number) = *world.net.events.first_key_value()?.0;
            if at > world.now_ms {
                return None;
            }
            let (from, to, event) = world.net.events.remove(&(at, number))?;
            let now = world.now_ms;
            let (kind, conn, size) = match &event {
                Event::Syn(conn) => ("syn", *conn, 0),
                Event::SynAnswer(conn, _) => ("syn-answer", *conn, 0),
                Event::Data(conn, _, bytes) => ("data", *conn, bytes.len() as u64),
                Event::Fin(conn, _) => ("fin", *conn, 0),
                Event::Reset(conn, _) => ("reset", *conn, 0),
            };
            world.trace.note(now, to, kind, &[conn, size]);
            Some(world.arrive(from, to, event))
        });
        let Some(wakers) = wakers else { return };
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// A process ended: its connections are reset, as far as its machine can still say so.
pub(crate) fn stop(host: HostId) {
    let dropped = with(|world| {
        let listener = world.net.listeners.remove(&host);
        let is_up = world.hosts.get(&host).is_some_and(|host| host.is_machine_up);
        let mut ends = Vec::new();
        let mut wakers = Vec::new();
        for (conn, known) in &mut world.net.conns {
            for (side, end) in known.ends.iter_mut().enumerate() {
                if end.host == host && end.is_open {
                    end.is_open = false;
                    end.inbox.clear();
                    wakers.extend(end.reader.take());
                    wakers.extend(end.writer.take());
                    ends.push((*conn, side));
                }
            }
        }
        if is_up {
            for (conn, side) in ends {
                world.send_on(conn, side, Event::Reset(conn, 1 - side));
            }
        }
        (listener.map(|_| ()), wakers)
    });
    // Their tasks are gone in a moment.
    drop(dropped);
}

/// Cuts a direction: what is sent from now on, and what is on its way, is held.
pub fn cut(from: HostId, to: HostId) {
    crate::trace::note("cut", &[from, to]);
    with(|world| world.net.links.entry((from, to)).or_default().is_cut = true);
}

/// Whether a direction is cut.
#[must_use]
pub fn is_cut(from: HostId, to: HostId) -> bool {
    with(|world| world.net.links.get(&(from, to)).is_some_and(|link| link.is_cut))
}

/// Mends a direction: what was held arrives some time later, as it is sent again only now and then.
pub fn mend(from: HostId, to: HostId) {
    crate::trace::note("mend", &[from, to]);
    with(|world| {
        let link = world.net.links.entry((from, to)).or_default();
        if !std::mem::take(&mut link.is_cut) {
            return;
        }
        let held = std::mem::take(&mut link.held);
        let mut at = world.now_ms + 1 + world.rng.below(RESEND_MS);
        for event in held {
            at = world.send(from, to, at, event);
        }
    });
}

/// Sets what a direction is like.
pub fn set_quality(from: HostId, to: HostId, quality: Quality) {
    with(|world| world.net.links.entry((from, to)).or_default().quality = quality);
}

/// How long a single message takes now; none if it does not arrive.
#[must_use]
pub fn message_ms(from: HostId, to: HostId) -> Option<u64> {
    with(|world| {
        let link = world.net.links.entry((from, to)).or_default();
        let (is_cut, quality) = (link.is_cut, link.quality);
        let is_up = world.hosts.get(&to).is_none_or(|host| host.is_machine_up);
        let delay = quality.delay_ms + world.rng.below(quality.jitter_ms + 1);
        let is_lost = quality.loss_percent > 0 && world.rng.percent(quality.loss_percent);
        (!is_cut && is_up).then_some(delay + if is_lost { RESEND_MS } else { 0 })
    })
}

/// Listens, as the host whose code runs.
pub fn listen(host: HostId) {
    with(|world| drop(world.net.listeners.insert(host, Listener::default())));
}

/// The next connection of somebody.
pub fn poll_accept(host: HostId, context: &mut Context<'_>) -> Poll<u64> {
    with(|world| {
        let Some(listener) = world.net.listeners.get_mut(&host) else {
            return Poll::Pending;
        };
        while let Some(conn) = listener.queue.pop_front() {
            if let Some(known) = world.net.conns.get_mut(&conn) {
                known.ends[1].is_open = true;
                return Poll::Ready(conn);
            }
        }
        listener.waker = Some(context.waker().clone());
        Poll::Pending
    })
}

/// Begins to connect to a host. Gives the connection, which is not there yet.
#[must_use]
pub fn connect(to: HostId) -> u64 {
    with(|world| {
        let from = world.current;
        world.net.last_conn += 1;
        let conn = world.net.last_conn;
        let end = |host, is_open| End {
            host,
            is_open,
            ..End::default()
        };
        world.net.conns.insert(
            conn,
            Conn {
                ends: [end(from, true), end(to, true)],
                connected: None,
                connecting: None,
            },
        );
        world.send_on(conn, 0, Event::Syn(conn));
        conn
    })
}

/// Waits until the connection is there, or refused.
pub fn poll_connected(conn: u64, context: &mut Context<'_>) -> Poll<io::Result<()>> {
    with(|world| match world.net.conns.get_mut(&conn) {
        None => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        Some(known) => match known.connected {
            Some(true) => Poll::Ready(Ok(())),
            Some(false) => Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into())),
            None => {
                known.connecting = Some(context.waker().clone());
                Poll::Pending
            }
        },
    })
}

/// Reads at most so many bytes; nothing is the end.
pub fn poll_read(conn: u64, side: usize, limit: usize, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
    let (result, waker) = with(|world| {
        let Some(known) = world.net.conns.get_mut(&conn) else {
            return (Poll::Ready(Ok(Bytes::new())), None);
        };
        let end = &mut known.ends[side];
        if end.is_reset || !end.is_open {
            return (Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())), None);
        }
        let Some(first) = end.inbox.front_mut() else {
            if end.is_finished {
                return (Poll::Ready(Ok(Bytes::new())), None);
            }
            end.reader = Some(context.waker().clone());
            return (Poll::Pending, None);
        };
        let bytes = if first.len() > limit {
            first.copy_to_bytes(limit)
        } else {
            end.inbox.pop_front().unwrap_or_default()
        };
        let other = &mut known.ends[1 - side];
        other.unread = other.unread.saturating_sub(bytes.len());
        (Poll::Ready(Ok(bytes)), other.writer.take())
    });
    waker.into_iter().for_each(Waker::wake);
    result
}

/// Writes some bytes.
pub fn poll_write(conn: u64, side: usize, bytes: &[u8], context: &mut Context<'_>) -> Poll<io::Result<usize>> {
    with(|world| {
        let host = world.current;
        let is_alive = world.hosts.get(&host).is_some_and(|host| host.is_process_alive);
        let Some(known) = world.net.conns.get_mut(&conn) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let end = &mut known.ends[side];
        if end.is_reset || !end.is_open || !is_alive {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if end.unread >= WINDOW_BYTES {
            end.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let size = bytes.len().min(SEGMENT_BYTES);
        end.unread += size;
        world.send_on(conn, side, Event::Data(conn, 1 - side, Bytes::copy_from_slice(&bytes[..size])));
        Poll::Ready(Ok(size))
    })
}

/// Says that nothing more is written.
pub fn finish(conn: u64, side: usize) {
    with(|world| {
        let is_open = world.net.conns.get(&conn).is_some_and(|known| known.ends[side].is_open);
        if is_open {
            world.send_on(conn, side, Event::Fin(conn, 1 - side));
        }
    });
}

/// Gives an end up.
pub fn close(conn: u64, side: usize) {
    finish(conn, side);
    let gone = with(|world| {
        let Some(known) = world.net.conns.get_mut(&conn) else { return None };
        known.ends[side].is_open = false;
        let is_over = known.ends.iter().all(|end| !end.is_open) || known.connected.is_none();
        if is_over { world.net.conns.remove(&conn) } else { None }
    });
    drop(gone);
}

/// What a sender may have on its way: more than a message of the protocol, so that only who does not read stalls it.
const WINDOW_BYTES: usize = 4 << 20;
const SEGMENT_BYTES: usize = 64 << 10;
/// A packet that is lost is sent again after this, and then after twice as long.
const RESEND_MS: u64 = 200;
const RESEND_MAX_MS: u64 = 4_000;
