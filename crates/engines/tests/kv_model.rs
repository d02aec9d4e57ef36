//! The KV engine and the model of it that simulations and torture runs are judged by: they tell a client the same.

#[path = "../../barrier/tests/common/mod.rs"]
mod common;

use aumbry_checker::model::{Kv, Model as _};
use aumbry_checker::{Budget, Content, End, Event, Fate, History, Operation, Verdict, check, oracle};
use aumbry_engines::kv::{Config, Error, MetadataChange, Reply, Request, plan};
use aumbry_state::Outcome;
use aumbry_types::{ObjectId, SecretBytes, SecretPath};
use common::Bed;
use proptest::collection::vec;
use proptest::prelude::*;

const ROOT: ObjectId = ObjectId::well_known(50);
const PATHS: [&str; 3] = ["a", "d/a", "d/e/b"];

/// An operation of the model, as a request to the engine.
fn request(operation: &Operation) -> Request {
    let path = |key: &String| SecretPath::parse(key).expect("is a path");
    let data = |value: &u64| SecretBytes::from(format!("{{\"v\":{value}}}"));
    match operation {
        Operation::Put { key, value, cas } => Request::Put {
            path: path(key),
            data: data(value),
            cas: *cas,
        },
        Operation::Patch { key, value, cas } => Request::Patch {
            path: path(key),
            data: data(value),
            cas: *cas,
        },
        Operation::Get { key, version } => Request::Get {
            path: path(key),
            version: *version,
        },
        Operation::Delete { key, versions } => Request::Delete {
            path: path(key),
            versions: versions.clone(),
        },
        Operation::Undelete { key, versions } => Request::Undelete {
            path: path(key),
            versions: versions.clone(),
        },
        Operation::Destroy { key, versions } => Request::Destroy {
            path: path(key),
            versions: versions.clone(),
        },
        Operation::ReadMetadata { key } => Request::ReadMetadata { path: path(key) },
        Operation::WriteMetadata {
            key,
            max_versions,
            cas_required,
        } => Request::WriteMetadata {
            path: path(key),
            change: MetadataChange {
                max_versions: *max_versions,
                cas_required: *cas_required,
                ..MetadataChange::default()
            },
        },
        Operation::DeleteMetadata { key } => Request::DeleteMetadata { path: path(key) },
        Operation::List { directory } => Request::List {
            path: (!directory.is_empty()).then(|| path(&directory.trim_end_matches('/').to_owned())),
            after: String::new(),
            limit: 100,
        },
        other => panic!("{other:?} is no request to this engine"),
    }
}

/// An answer of the engine, as the model's.
fn told(reply: Result<Reply, Error>) -> aumbry_checker::Reply {
    use aumbry_checker::Reply as Told;
    match reply {
        Ok(Reply::Written { info, .. }) => Told::Written { version: info.version },
        Ok(Reply::Item(item)) => {
            let content = match (item.data, item.info.destroyed) {
                (Some(data), _) => Content::Value(value(&data)),
                (None, true) => Content::Destroyed,
                (None, false) => Content::Deleted,
            };
            Told::Item {
                version: item.info.version,
                content,
            }
        }
        Ok(Reply::Names { names, .. }) => Told::Names(names),
        Ok(Reply::Metadata(metadata)) => {
            let fate = |state: &aumbry_engines::kv::VersionState| match (state.destroyed, state.deleted_at) {
                (true, _) => Fate::Destroyed,
                (false, 0) => Fate::Live,
                (false, _) => Fate::Deleted,
            };
            let versions = metadata.versions.iter().map(|(version, state)| (*version, fate(state)));
            Told::Metadata {
                current: metadata.current,
                versions: versions.collect(),
            }
        }
        Ok(Reply::Done) => Told::Done,
        Err(Error::NotFound) => Told::NotFound,
        Err(Error::CasMismatch { current }) => Told::CasMismatch { current: Some(current) },
        Err(Error::CasRequired) => Told::CasRequired,
        Err(Error::Unchanged { .. }) => Told::Unchanged,
        Ok(Reply::Items(_)) => panic!("nobody asked for a batch"),
        Err(other) => panic!("{other}"),
    }
}

fn value(data: &SecretBytes) -> u64 {
    let text = data.expose_str().expect("is text");
    let digits = text.trim_start_matches("{\"v\":").trim_end_matches('}');
    digits.parse().expect("is the number that was written")
}

/// What is asked; the place in the run gives the value.
#[derive(Clone, Debug)]
struct Ask {
    operation: usize,
    key: usize,
    version: u64,
}

impl Ask {
    fn operation(&self, value: u64) -> Operation {
        let key = PATHS[self.key].to_owned();
        let version = self.version;
        let versions = vec![version.max(1), version + 2];
        match self.operation {
            0..4 => Operation::Put { key, value, cas: None },
            4..6 => Operation::Put {
                key,
                value,
                cas: Some(version),
            },
            6 => Operation::Patch { key, value, cas: None },
            7 => Operation::Patch {
                key,
                value,
                cas: Some(version),
            },
            8 => Operation::Get { key, version: None },
            9 => Operation::Get {
                key,
                version: Some(version),
            },
            10 => Operation::Delete {
                key,
                versions: Vec::new(),
            },
            11 => Operation::Delete { key, versions },
            12 => Operation::Undelete { key, versions },
            13 => Operation::Destroy { key, versions },
            14 => Operation::ReadMetadata { key },
            15 => Operation::WriteMetadata {
                key,
                max_versions: Some(u32::try_from(version).expect("is small")),
                cas_required: version.is_multiple_of(2).then_some(version == 2),
            },
            16 => Operation::DeleteMetadata { key },
            _ => {
                let directory = ["", "d/", "d/e/"][self.key].to_owned();
                Operation::List { directory }
            }
        }
    }
}

fn an_ask() -> impl Strategy<Value = Ask> {
    (0..18_usize, 0..PATHS.len(), 0..5_u64).prop_map(|(operation, key, version)| Ask {
        operation,
        key,
        version,
    })
}

/// What the engine tells, one request after the other.
fn run(asks: &[Ask]) -> History {
    let mut bed = Bed::new(5);
    let ask = |(place, ask): (u64, &Ask)| {
        let operation = ask.operation(place + 1);
        let (reply, command) = bed.plan(|txn| {
            let reply = plan(txn, ROOT, &Config::default(), &request(&operation));
            if reply.is_err() {
                txn.abandon();
            }
            told(reply)
        });
        assert_eq!(bed.apply(&command), Outcome::Ok, "nothing came between plan and apply");
        bed.now += 1_000;
        Event {
            client: 1,
            request: None,
            call: 10 * place,
            operation,
            end: End::Returned {
                at: 10 * place + 5,
                reply,
                seq: None,
            },
        }
    };
    History::new((0..).zip(asks).map(ask).collect())
}

proptest! {
    /// One after the other: each answer is the model's own, and no oracle finds anything.
    #[test]
    fn the_model_tells_what_the_engine_tells(asks in vec(an_ask(), 1..60)) {
        let history = run(&asks);
        for path in PATHS {
            let mut state = Kv.initial();
            let events = history.events().iter().filter(|event| event.operation.key() == Some(path));
            for event in events {
                let (answer, next) = Kv.answer(&state, &event.operation).expect("is a request");
                prop_assert_eq!(Some(&answer), event.reply(), "{:?} in {:?}", event, state);
                state = next.unwrap_or(state);
            }
        }
        let verdict = check(&history, Budget::standard());
        prop_assert_eq!(&verdict, &Verdict::Linearizable, "{}", verdict);
        let findings = oracle::all(&history);
        prop_assert!(findings.is_empty(), "{:?}", findings);
    }

    /// The positive control: an answer that the engine did not give is no answer of the model.
    #[test]
    fn a_false_answer_is_seen(asks in vec(an_ask(), 1..40), place in any::<prop::sample::Index>()) {
        let mut events = run(&asks).events().to_vec();
        let place = place.index(events.len());
        let event = &mut events[place];
        // What a list shows of several secrets at once tells nothing of any one of them.
        if event.operation.key().is_none() {
            return Ok(());
        }
        let End::Returned { reply, .. } = &mut event.end else { panic!("all were answered") };
        *reply = match reply {
            aumbry_checker::Reply::Written { version } => aumbry_checker::Reply::Written { version: *version + 1 },
            aumbry_checker::Reply::Done => aumbry_checker::Reply::Unchanged,
            _ => aumbry_checker::Reply::Done,
        };
        let verdict = check(&History::new(events), Budget::standard());
        prop_assert_eq!(verdict.violation().map(|violation| violation.last), Some(place), "{}", verdict);
    }
}
