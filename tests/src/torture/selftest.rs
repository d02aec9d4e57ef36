//! That the harness can fail: violations that are planted must be reported. Each run begins with it.

use anyhow::{Result, ensure};
use aumbry_checker::{Content, End, Event, History, Operation, Reply};

use super::verdict;

/// Plants one violation after the other into a good history.
pub(crate) fn run() -> Result<()> {
    ensure!(verdict::judge(&good(), LAST)?.is_empty(), "a good history is blamed");
    for (name, plant) in PLANTED {
        let mut events = good().events().to_vec();
        plant(&mut events);
        let wrong = verdict::judge(&History::new(events), LAST)?;
        ensure!(!wrong.is_empty(), "nobody sees {name}");
    }
    Ok(())
}

/// Writes and reads of one secret, one after the other, and a token.
fn good() -> History {
    let mut events = Vec::new();
    let mut tell = |operation: Operation, reply: Reply| {
        let call = 10 * events.len() as u64;
        events.push(Event {
            client: 1,
            request: None,
            call,
            operation,
            end: End::Returned {
                at: call + 5,
                reply,
                seq: None,
            },
        });
    };
    let key = || "secret/hot/0".to_owned();
    let made = Operation::WriteMetadata {
        key: key(),
        max_versions: Some(1_000),
        cas_required: None,
    };
    tell(made, Reply::Done);
    for value in 1..=4 {
        let put = Operation::Put {
            key: key(),
            value,
            cas: None,
        };
        tell(put, Reply::Written { version: value });
        let get = Operation::Get {
            key: key(),
            version: None,
        };
        let content = Content::Value(value);
        tell(
            get,
            Reply::Item {
                version: value,
                content,
            },
        );
    }
    let token = || "token-0".to_owned();
    let create = Operation::CreateToken {
        token: token(),
        parent: None,
        uses: 0,
    };
    tell(create, Reply::Done);
    tell(Operation::UseToken { token: token() }, Reply::Done);
    tell(Operation::RevokeToken { token: token() }, Reply::Done);
    tell(Operation::UseToken { token: token() }, Reply::Refused);
    History::new(events)
}

type Plant = fn(&mut Vec<Event>);

fn reply(event: &mut Event, told: Reply) {
    if let End::Returned { reply, .. } = &mut event.end {
        *reply = told;
    }
}

/// When the last read of the secret is called.
const LAST: u64 = 75;

const PLANTED: &[(&str, Plant)] = &[
    ("a stale read", |events| {
        let stale = Reply::Item {
            version: 2,
            content: Content::Value(2),
        };
        reply(&mut events[6], stale);
    }),
    ("a lost write", |events| reply(&mut events[8], Reply::NotFound)),
    ("a value that nobody wrote", |events| {
        let foreign = Reply::Item {
            version: 4,
            content: Content::Value(99),
        };
        reply(&mut events[8], foreign);
    }),
    ("a refused write that was applied", |events| {
        events[7].end = End::Failed { at: 75 }
    }),
    ("a write that was applied twice", |events| {
        let twice = Reply::Item {
            version: 5,
            content: Content::Value(4),
        };
        reply(&mut events[8], twice);
    }),
    ("a revoked token that is accepted", |events| {
        reply(&mut events[12], Reply::Done)
    }),
];

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_planted_is_seen() {
        super::run().unwrap();
    }
}
