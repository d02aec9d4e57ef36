//! The search for an order, after Wing and Gong, with Lowe's memory of what was tried, and the linked list and bit set of Porcupine.
//!
//! Calls and answers stand in one list in the order of time. An operation can come next in the order if its call stands before the
//! first answer that is left: nothing that is left ended before it began. Whoever comes next is lifted out of the list, and put back
//! if that leads nowhere. A set of operations that was ordered, with the state that this led to, is tried once, whatever the order.
//!
//! - Operations whose outcome is open have no answer, so they may come at any time, or never; they are tried last.
//! - An answered operation that can come next, and that with its answer changes nothing in any state, comes next: whatever order there
//!   is, it can be moved to the front of it. This makes reads, refusals and looks cost nothing. That it changes nothing just here is
//!   not enough: to restore what is not deleted changes nothing, and the order may need it after a deletion.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::model::Model;
use crate::partition::Entry;
use crate::verdict::Budget;

/// How a search ended.
pub(crate) enum Found<S> {
    /// There is an order.
    Order,
    /// There is none.
    Stuck(DeadEnd<S>),
    /// The budget ran out.
    Exhausted,
}

/// The furthest that the search came.
pub(crate) struct DeadEnd<S> {
    /// The longest order found, as indices of entries.
    pub(crate) ordered: Vec<usize>,
    /// The state after it.
    pub(crate) state: Rc<S>,
    /// Those of which one had to come next.
    pub(crate) stuck: Vec<usize>,
}

/// Searches for an order of these entries.
pub(crate) fn search<M: Model>(model: &M, entries: &[Entry], budget: Budget) -> Found<M::State> {
    Search::new(model, entries, budget).run()
}

struct Search<'a, M: Model> {
    model: &'a M,
    entries: &'a [Entry],
    budget: Budget,
    list: List,
    /// Those whose outcome is open, in the order of their calls.
    open: Vec<usize>,
    /// How many answered operations are left.
    left: usize,
    done: Done,
    states: States<M::State>,
    state: u32,
    tried: HashSet<(Box<[u64]>, u32)>,
    spent: usize,
    steps: u64,
    frames: Vec<Frame>,
    /// How many were left at best, the state then, and who was ordered.
    best: (usize, u32, Vec<usize>),
}

/// One place of the order.
struct Frame {
    entry: usize,
    /// The state before it.
    before: u32,
    /// Where to go on if it led nowhere.
    after: Cursor,
}

/// What to try next at a place of the order.
#[derive(Clone, Copy)]
enum Cursor {
    /// The place was just reached: look for one that changes nothing first.
    Fresh,
    /// The answered operations from this node of the list on.
    Answered(usize),
    /// The open ones from this one on.
    Open(usize),
    /// Nothing else.
    Nothing,
}

/// What came of trying an operation.
enum Try {
    No,
    Same,
    Next(u32),
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, entries: &'a [Entry], budget: Budget) -> Self {
        let answered = entries.iter().filter(|entry| entry.answer.is_some()).count();
        let mut open: Vec<usize> = (0..entries.len()).filter(|i| entries[*i].answer.is_none()).collect();
        open.sort_by_key(|i| entries[*i].call);
        let states = States::new(model.initial());
        Self {
            model,
            entries,
            budget,
            list: List::new(entries),
            open,
            left: answered,
            done: Done::new(entries),
            states,
            state: 0,
            tried: HashSet::new(),
            spent: 0,
            steps: 0,
            frames: Vec::new(),
            best: (usize::MAX, 0, Vec::new()),
        }
    }

    fn run(mut self) -> Found<M::State> {
        let mut cursor = Cursor::Fresh;
        loop {
            if self.left == 0 {
                return Found::Order;
            }
            if self.steps > self.budget.steps || self.spent > self.budget.bytes {
                return Found::Exhausted;
            }
            match self.advance(cursor) {
                true => cursor = Cursor::Fresh,
                false => {
                    self.note_best();
                    let Some(frame) = self.frames.pop() else {
                        return Found::Stuck(self.dead_end());
                    };
                    self.put_back(frame.entry);
                    self.state = frame.before;
                    cursor = frame.after;
                }
            }
        }
    }

    /// Only where the search turns back: to note each step of a long way would cost its square.
    fn note_best(&mut self) {
        if self.left < self.best.0 {
            self.best = (
                self.left,
                self.state,
                self.frames.iter().map(|frame| frame.entry).collect(),
            );
        }
    }

    /// Finds who comes next, from the cursor on, and takes it. False if nobody can.
    fn advance(&mut self, cursor: Cursor) -> bool {
        let mut node = match cursor {
            Cursor::Nothing => return false,
            Cursor::Open(from) => return self.advance_open(from),
            Cursor::Answered(node) => node,
            Cursor::Fresh => {
                if let Some(entry) = self.harmless() {
                    return self.take(entry, self.state, Cursor::Nothing);
                }
                self.list.first()
            }
        };
        while let Some(entry) = self.list.call_at(node) {
            let next = self.list.next(node);
            let state = match self.attempt(entry) {
                Try::No => None,
                Try::Same => Some(self.state),
                Try::Next(state) => Some(state),
            };
            if state.is_some_and(|state| self.take(entry, state, Cursor::Answered(next))) {
                return true;
            }
            node = next;
        }
        self.advance_open(0)
    }

    fn advance_open(&mut self, from: usize) -> bool {
        let until = self.list.first_answer_time();
        for place in from..self.open.len() {
            let entry = self.open[place];
            if self.entries[entry].call > until {
                break;
            }
            if self.done.contains(entry) {
                continue;
            }
            // One that would change nothing is as well left out.
            if let Try::Next(state) = self.attempt(entry)
                && self.take(entry, state, Cursor::Open(place + 1))
            {
                return true;
            }
        }
        false
    }

    /// An answered operation that can come next, and that changes nothing here or anywhere.
    fn harmless(&mut self) -> Option<usize> {
        let mut node = self.list.first();
        while let Some(entry) = self.list.call_at(node) {
            if self.entries[entry].never_changes() && matches!(self.attempt(entry), Try::Same) {
                return Some(entry);
            }
            node = self.list.next(node);
        }
        None
    }

    fn attempt(&mut self, entry: usize) -> Try {
        self.steps += 1;
        let entry = &self.entries[entry];
        let state = self.states.at(self.state);
        let Some((answer, next)) = self.model.answer(&state, &entry.operation) else {
            return Try::No;
        };
        if let Some((_, told)) = &entry.answer
            && !self.model.accepts(&state, &entry.operation, &answer, told)
        {
            return Try::No;
        }
        match next {
            None => Try::Same,
            Some(next) => {
                let (state, size) = self.states.place(next);
                self.spent += size;
                Try::Next(state)
            }
        }
    }

    /// Takes an operation as the next one, unless the same set with the same state was tried before.
    fn take(&mut self, entry: usize, state: u32, after: Cursor) -> bool {
        self.done.insert(entry);
        let key = (self.done.key(), state);
        let size = key.0.len() * size_of::<u64>() + SLOT_BYTES;
        if !self.tried.insert(key) {
            self.done.remove(entry);
            return false;
        }
        self.spent += size;
        if self.entries[entry].answer.is_some() {
            self.list.lift(entry);
            self.left -= 1;
        }
        self.frames.push(Frame {
            entry,
            before: self.state,
            after,
        });
        self.state = state;
        true
    }

    fn put_back(&mut self, entry: usize) {
        self.done.remove(entry);
        if self.entries[entry].answer.is_some() {
            self.list.put_back(entry);
            self.left += 1;
        }
    }

    fn dead_end(&self) -> DeadEnd<M::State> {
        let (_, state, ordered) = &self.best;
        let mut is_ordered = vec![false; self.entries.len()];
        for entry in ordered {
            is_ordered[*entry] = true;
        }
        let left = (0..self.entries.len()).filter(|i| !is_ordered[*i]);
        let answers = left.clone().filter_map(|i| self.entries[i].answer.as_ref());
        let until = answers.map(|(at, _)| *at).min().unwrap_or(u64::MAX);
        DeadEnd {
            ordered: ordered.clone(),
            state: self.states.at(*state),
            stuck: left.filter(|i| self.entries[*i].call <= until).collect(),
        }
    }
}

/// States by number, so that comparing two is comparing numbers.
struct States<S> {
    all: Vec<Rc<S>>,
    numbers: HashMap<Rc<S>, u32>,
}

impl<S: Eq + core::hash::Hash> States<S> {
    fn new(initial: S) -> Self {
        let initial = Rc::new(initial);
        Self {
            all: vec![Rc::clone(&initial)],
            numbers: HashMap::from([(initial, 0)]),
        }
    }

    fn at(&self, number: u32) -> Rc<S> {
        Rc::clone(&self.all[number as usize])
    }

    /// The number of a state, and about how many bytes it took to remember it.
    fn place(&mut self, state: S) -> (u32, usize) {
        if let Some(number) = self.numbers.get(&state) {
            return (*number, 0);
        }
        let number = u32::try_from(self.all.len()).expect("the budget of bytes allows far fewer states");
        let state = Rc::new(state);
        self.all.push(Rc::clone(&state));
        self.numbers.insert(state, number);
        (number, STATE_BYTES)
    }
}

/// Calls and answers of the answered operations in the order of time; a call before an answer of the same time, so that they overlap.
struct List {
    /// The entry of each node, and whether it is a call; by place in time, from 1. Node 0 is both ends.
    nodes: Vec<Option<(usize, Side)>>,
    next: Vec<usize>,
    before: Vec<usize>,
    times: Vec<u64>,
    /// Of each entry: its call and its answer.
    places: Vec<(usize, usize)>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Call,
    Answer,
}

impl List {
    fn new(entries: &[Entry]) -> Self {
        let mut points: Vec<(u64, Side, usize)> = Vec::new();
        for (i, entry) in entries.iter().enumerate() {
            if let Some((at, _)) = entry.answer {
                points.push((entry.call, Side::Call, i));
                // A clock that ran backwards within a call must not make it end before it began.
                points.push((at.max(entry.call), Side::Answer, i));
            }
        }
        points.sort_unstable();
        let count = points.len() + 1;
        let mut places = vec![(0, 0); entries.len()];
        let mut nodes = vec![None];
        let mut times = vec![u64::MAX];
        for (place, (time, side, entry)) in points.into_iter().enumerate() {
            nodes.push(Some((entry, side)));
            times.push(time);
            match side {
                Side::Call => places[entry].0 = place + 1,
                Side::Answer => places[entry].1 = place + 1,
            }
        }
        Self {
            nodes,
            next: (1..count).chain([0]).collect(),
            before: [count - 1].into_iter().chain(0..count - 1).collect(),
            times,
            places,
        }
    }

    fn first(&self) -> usize {
        self.next[0]
    }

    fn next(&self, node: usize) -> usize {
        self.next[node]
    }

    /// The entry that is called at this node; `None` if the node is an answer or the end.
    fn call_at(&self, node: usize) -> Option<usize> {
        self.nodes[node]
            .filter(|(_, side)| *side == Side::Call)
            .map(|(entry, _)| entry)
    }

    /// When the first answer that is left came; the end of time if none is.
    fn first_answer_time(&self) -> u64 {
        let mut node = self.first();
        while self.call_at(node).is_some() {
            node = self.next(node);
        }
        self.times[node]
    }

    fn lift(&mut self, entry: usize) {
        let (call, answer) = self.places[entry];
        self.unlink(call);
        self.unlink(answer);
    }

    /// Undoes the last lift that was not undone.
    fn put_back(&mut self, entry: usize) {
        let (call, answer) = self.places[entry];
        self.link(answer);
        self.link(call);
    }

    fn unlink(&mut self, node: usize) {
        let (before, next) = (self.before[node], self.next[node]);
        self.next[before] = next;
        self.before[next] = before;
    }

    fn link(&mut self, node: usize) {
        let (before, next) = (self.before[node], self.next[node]);
        self.next[before] = node;
        self.before[next] = node;
    }
}

/// Who is ordered: one bit each, the answered ones in the order of their calls, then the open ones. The answered ones are ordered
/// nearly from the front to the back, so all but a few words of theirs are full or empty: a key holds those few.
struct Done {
    /// Of each entry: its bit.
    bits: Vec<usize>,
    answered: Vec<u64>,
    open: Vec<u64>,
    /// How many words of `answered` are full, counted from the front.
    full: usize,
    /// How many words of `answered` there are up to the last that is not empty.
    used: usize,
}

impl Done {
    fn new(entries: &[Entry]) -> Self {
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_by_key(|i| (entries[*i].answer.is_none(), entries[*i].call));
        let answered = entries.iter().filter(|entry| entry.answer.is_some()).count();
        let words = answered.div_ceil(64);
        let mut bits = vec![0; entries.len()];
        for (place, entry) in order.into_iter().enumerate() {
            // The open ones begin at a word of their own.
            bits[entry] = if place < answered {
                place
            } else {
                words * 64 + place - answered
            };
        }
        Self {
            bits,
            answered: vec![0; words],
            open: vec![0; (entries.len() - answered).div_ceil(64)],
            full: 0,
            used: 0,
        }
    }

    fn contains(&self, entry: usize) -> bool {
        let (word, bit) = (self.bits[entry] / 64, self.bits[entry] % 64);
        let words = self.answered.len();
        let word = if word < words {
            self.answered[word]
        } else {
            self.open[word - words]
        };
        word >> bit & 1 == 1
    }

    fn insert(&mut self, entry: usize) {
        let (word, bit) = (self.bits[entry] / 64, self.bits[entry] % 64);
        let words = self.answered.len();
        if word >= words {
            self.open[word - words] |= 1 << bit;
            return;
        }
        self.answered[word] |= 1 << bit;
        self.used = self.used.max(word + 1);
        while self.answered.get(self.full) == Some(&u64::MAX) {
            self.full += 1;
        }
    }

    fn remove(&mut self, entry: usize) {
        let (word, bit) = (self.bits[entry] / 64, self.bits[entry] % 64);
        let words = self.answered.len();
        if word >= words {
            self.open[word - words] &= !(1 << bit);
            return;
        }
        self.answered[word] &= !(1 << bit);
        self.full = self.full.min(word);
        while self.used > 0 && self.answered[self.used - 1] == 0 {
            self.used -= 1;
        }
    }

    /// The set in a few words, one form for each set.
    fn key(&self) -> Box<[u64]> {
        let window = &self.answered[self.full.min(self.used)..self.used];
        let open = self.open.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1);
        let mut key = Vec::with_capacity(1 + window.len() + open);
        key.push((self.full as u64) << 32 | window.len() as u64);
        key.extend_from_slice(window);
        key.extend_from_slice(&self.open[..open]);
        key.into_boxed_slice()
    }
}

/// What a map takes for an element beside its bytes, about.
const SLOT_BYTES: usize = 64;
/// What a state takes, about: a secret with ten versions.
const STATE_BYTES: usize = 400;
