//! The search against a reference that tries every order, on small random histories: they must agree on each, and on many of both kinds.

mod support;

use std::cell::Cell;

use aumbry_checker::model::{Kv, Model, Tokens};
use aumbry_checker::{Budget, Event, History, Operation, Reply, Verdict, check, oracle};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use support::*;

/// Whether any order explains the answers: takes each operation that can come next in turn, remembers nothing, and leaves the open
/// ones out wherever it likes.
fn has_order<M: Model>(model: &M, state: &M::State, left: &[&Event]) -> bool {
    if left.iter().all(|event| event.reply().is_none()) {
        return true;
    }
    (0..left.len()).any(|i| {
        let event = left[i];
        let is_after_another = left
            .iter()
            .any(|other| other.ended_at().is_some_and(|at| at < event.call));
        let Some((answer, next)) = model.answer(state, &event.operation) else {
            return false;
        };
        let is_explained = event
            .reply()
            .is_none_or(|told| model.accepts(state, &event.operation, &answer, told));
        if is_after_another || !is_explained {
            return false;
        }
        let rest: Vec<&Event> = left
            .iter()
            .enumerate()
            .filter(|(j, _)| *j != i)
            .map(|(_, event)| *event)
            .collect();
        has_order(model, next.as_ref().unwrap_or(state), &rest)
    })
}

fn reference<M: Model>(model: &M, history: &History) -> bool {
    let possible: Vec<&Event> = history.events().iter().filter(|event| event.is_possible()).collect();
    has_order(model, &model.initial(), &possible)
}

/// What happens to an operation: when it is called, how long it takes, when it takes effect within that, and how its end is told.
#[derive(Clone, Debug)]
struct Shape {
    operation: usize,
    argument: u64,
    call: u64,
    takes: u64,
    effect: u64,
    end: u8,
    lie: u8,
}

fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    let shape = (0..12_usize, 0..4_u64, 0..14_u64, 0..6_u64, 0..6_u64, 0..10_u8, 0..24_u8);
    let shape = shape.prop_map(|(operation, argument, call, takes, effect, end, lie)| Shape {
        operation,
        argument,
        call,
        takes,
        effect,
        end,
        lie,
    });
    prop::collection::vec(shape, 1..8)
}

/// Runs the operations on the model in the order of their effects, so that the history has an order; now and then an answer lies.
fn run<M: Model>(model: &M, shapes: &[Shape], operation: impl Fn(usize, &Shape) -> Operation) -> History {
    let mut order: Vec<usize> = (0..shapes.len()).collect();
    order.sort_by_key(|i| (shapes[*i].call + shapes[*i].effect.min(shapes[*i].takes), *i));
    let mut state = model.initial();
    let mut events = Vec::new();
    for i in order {
        let shape = &shapes[i];
        let operation = operation(i, shape);
        let (reply, next) = model.answer(&state, &operation).expect("belongs to the model");
        // Some that are lost never take effect, and none that fails.
        let takes_effect = match shape.end {
            0 => shape.argument % 2 == 1,
            1 => false,
            _ => true,
        };
        if takes_effect {
            state = next.unwrap_or(state);
        }
        events.push(match shape.end {
            0 => open(shape.call, operation),
            1 => failed(shape.call, shape.call + shape.takes, operation),
            _ => told(shape.call, shape.call + shape.takes, operation, lie(reply, shape)),
        });
    }
    history(&events)
}

fn lie(reply: Reply, shape: &Shape) -> Reply {
    match (shape.lie, reply) {
        (0, Reply::Written { version }) => written(version + 1),
        (1, Reply::Item { version, .. }) => item(version, shape.argument),
        (0..=1, Reply::Done) => Reply::Refused,
        (0..=1, Reply::Refused | Reply::NotFound) => Reply::Done,
        (2, Reply::Item { .. }) => Reply::NotFound,
        (2, Reply::NotFound) => item(1, shape.argument),
        (_, reply) => reply,
    }
}

fn kv(i: usize, shape: &Shape) -> Operation {
    let (value, argument) = (i as u64, shape.argument);
    match shape.operation {
        0 | 1 => put("a", value),
        2 | 3 => cas("a", argument, value),
        4..=6 => get("a"),
        7 => get_version("a", argument.max(1)),
        8 => delete("a", &[]),
        9 => destroy("a", &[argument.max(1)]),
        10 => undelete("a", &[argument.max(1)]),
        _ => match argument {
            0 => remove("a"),
            1 => settings("a", Some(1), None),
            2 => metadata("a"),
            _ => patch("a", value),
        },
    }
}

fn tokens(_: usize, shape: &Shape) -> Operation {
    match shape.operation {
        0 | 1 => token("t", shape.argument),
        2 => child("c", "t", shape.argument),
        3 => revoke("t"),
        4 => revoke("c"),
        5 | 6 => use_token("c"),
        _ => use_token("t"),
    }
}

/// Counts what both say, and fails where they differ.
fn compare<M: Model>(model: &M, operation: impl Fn(usize, &Shape) -> Operation + Copy) {
    let (orders, none) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&shapes(), |shapes| {
        let history = run(model, &shapes, operation);
        let expected = reference(model, &history);
        let verdict = check(&history, Budget::standard());
        prop_assert_eq!(
            verdict == Verdict::Linearizable,
            expected,
            "{}\n{:#?}",
            verdict,
            history
        );
        let count = if expected { &orders } else { &none };
        count.set(count.get() + 1);
        if expected {
            // What has an order breaks no rule either; a value of the random operations may stand twice in no history.
            let findings = oracle::all(&history);
            prop_assert!(findings.is_empty(), "{:?}\n{:#?}", findings, history);
        } else if let Some(violation) = verdict.violation()
            && violation.part == "secret \"a\""
        {
            // What the explanation says is so: the answers that it names have no order, and one less has.
            let known = |count: usize| beginning(&history, count);
            prop_assert!(
                !reference(model, &known(violation.prefix)),
                "{}\n{:#?}",
                verdict,
                history
            );
            prop_assert!(
                reference(model, &known(violation.prefix - 1)),
                "{}\n{:#?}",
                verdict,
                history
            );
        }
        Ok(())
    });
    outcome.expect("the search and the reference agree");
    assert!(
        orders.get() > CASES / 10,
        "too few histories with an order: {}",
        orders.get()
    );
    assert!(none.get() > CASES / 10, "too few without: {}", none.get());
}

/// What was known when so many answers had come.
fn beginning(history: &History, count: usize) -> History {
    let mut answers: Vec<(u64, usize)> = (history.events().iter().enumerate())
        .filter(|(_, event)| event.reply().is_some())
        .filter_map(|(position, event)| Some((event.ended_at()?, position)))
        .collect();
    answers.sort_unstable();
    let known: Vec<usize> = answers.iter().take(count).map(|(_, position)| *position).collect();
    let until = answers.get(count.wrapping_sub(1)).map_or(0, |(at, _)| *at);
    let events = history
        .events()
        .iter()
        .enumerate()
        .filter(|(_, event)| event.is_possible() && event.call <= until);
    let events = events.map(|(position, event)| match known.contains(&position) {
        true => event.clone(),
        false => open(event.call, event.operation.clone()),
    });
    History::new(events.collect())
}

#[test]
fn secrets() {
    compare(&Kv, kv);
}

#[test]
fn tokens_with_uses() {
    compare(&Tokens, tokens);
}

/// Thousands, in some seconds.
const CASES: u32 = 30_000;
