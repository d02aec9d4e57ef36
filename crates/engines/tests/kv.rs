//! The KV engine on random requests: its plans are serialisable, rest on nothing that is lost, and leave nothing behind.

#[path = "../../barrier/tests/common/mod.rs"]
mod common;

use aumbry_barrier::CHILDREN_MAX;
use aumbry_engines::kv::{Config, Error, MetadataChange, Reply, Request, plan};
use aumbry_state::{Command, ContainerState, Outcome, key};
use aumbry_types::{ObjectId, SecretBytes, SecretPath};
use common::Bed;
use proptest::collection::vec;
use proptest::prelude::*;

const ROOT: ObjectId = ObjectId::well_known(50);
const PATHS: [&str; 6] = ["a", "b", "d/a", "d/b", "d/e/a", "d"];

/// A request that can be made more than once.
#[derive(Clone, Debug)]
enum Ask {
    Put(usize, Option<u64>, u8),
    Patch(usize, u8),
    Get(usize),
    List(Option<usize>),
    Delete(usize),
    Undelete(usize),
    Destroy(usize, u64),
    Shorten(usize),
    Forget(usize),
}

impl Ask {
    fn request(&self) -> Request {
        let path = |n: &usize| SecretPath::parse(PATHS[*n]).expect("is a path");
        let json = |n: &u8| SecretBytes::from(format!("{{\"v\":{n}}}"));
        match self {
            Self::Put(n, cas, value) => Request::Put {
                path: path(n),
                data: json(value),
                cas: *cas,
            },
            Self::Patch(n, value) => Request::Patch {
                path: path(n),
                data: json(value),
                cas: None,
            },
            Self::Get(n) => Request::Get {
                path: path(n),
                version: None,
            },
            Self::List(n) => Request::List {
                path: n.as_ref().map(path),
                after: String::new(),
                limit: 100,
            },
            Self::Delete(n) => Request::Delete {
                path: path(n),
                versions: vec![],
            },
            Self::Undelete(n) => Request::Undelete {
                path: path(n),
                versions: vec![1, 2],
            },
            Self::Destroy(n, version) => Request::Destroy {
                path: path(n),
                versions: vec![*version],
            },
            Self::Shorten(n) => {
                let change = MetadataChange {
                    max_versions: Some(2),
                    ..MetadataChange::default()
                };
                Request::WriteMetadata { path: path(n), change }
            }
            Self::Forget(n) => Request::DeleteMetadata { path: path(n) },
        }
    }

    fn is_write(&self) -> bool {
        !matches!(self, Self::Get(_) | Self::List(_))
    }
}

fn an_ask() -> impl Strategy<Value = Ask> {
    let n = 0..PATHS.len();
    prop_oneof![
        4 => (n.clone(), proptest::option::of(0u64..3), any::<u8>()).prop_map(|(n, cas, v)| Ask::Put(n, cas, v)),
        1 => (n.clone(), any::<u8>()).prop_map(|(n, v)| Ask::Patch(n, v)),
        2 => n.clone().prop_map(Ask::Get),
        2 => prop_oneof![Just(None), Just(Some(5)), Just(Some(2))].prop_map(Ask::List),
        1 => n.clone().prop_map(Ask::Delete),
        1 => n.clone().prop_map(Ask::Undelete),
        1 => (n.clone(), 1u64..4).prop_map(|(n, v)| Ask::Destroy(n, v)),
        1 => n.clone().prop_map(Ask::Shorten),
        2 => n.prop_map(Ask::Forget),
    ]
}

/// What the client would be told, in a form that can be compared.
fn told(reply: &Result<Reply, Error>) -> String {
    match reply {
        Ok(reply) => serde_json::to_string(reply).expect("plain data"),
        Err(error) => error.to_string(),
    }
}

/// Plans as the pipeline does: what failed writes nothing.
fn make(bed: &Bed, ask: &Ask) -> (String, Command) {
    bed.plan(|txn| {
        let reply = plan(txn, ROOT, &Config::default(), &ask.request());
        if reply.is_err() {
            txn.abandon();
        }
        told(&reply)
    })
}

fn commit(bed: &mut Bed, ask: &Ask) -> String {
    let (answer, command) = make(bed, ask);
    assert_eq!(bed.apply(&command), Outcome::Ok, "nothing came between plan and apply");
    answer
}

fn after(asks: &[Ask]) -> Bed {
    let mut bed = Bed::new(21);
    for ask in asks {
        commit(&mut bed, ask);
    }
    bed
}

/// Everything that a client can see.
fn seen(bed: &Bed) -> Vec<String> {
    let mut asks = vec![Ask::List(None), Ask::List(Some(5)), Ask::List(Some(2))];
    asks.extend((0..PATHS.len()).map(Ask::Get));
    let mut seen: Vec<String> = asks.iter().map(|ask| make(bed, ask).0).collect();
    for path in PATHS {
        let path = SecretPath::parse(path).expect("is a path");
        seen.push(
            bed.plan(|txn| told(&plan(txn, ROOT, &Config::default(), &Request::ReadMetadata { path })))
                .0,
        );
    }
    seen
}

proptest! {
    /// Two plans on one state: if both are applied, it is as if they had been made one after the other.
    #[test]
    fn plans_are_serialisable(before in vec(an_ask(), 0..12), first in an_ask(), second in an_ask()) {
        let mut bed = after(&before);
        let (first_told, first_command) = make(&bed, &first);
        let (second_told, second_command) = make(&bed, &second);
        prop_assert_eq!(bed.apply(&first_command), Outcome::Ok);
        let outcome = bed.apply(&second_command);

        let mut serial = after(&before);
        prop_assert_eq!(commit(&mut serial, &first), first_told);
        match outcome {
            Outcome::Ok if second.is_write() && !second_command.writes.is_empty() => {
                prop_assert_eq!(commit(&mut serial, &second), second_told);
                prop_assert_eq!(seen(&bed), seen(&serial));
            }
            // What wrote nothing is answered from the state before both: its place is before the first.
            Outcome::Ok => prop_assert_eq!(make(&after(&before), &second).0, second_told),
            Outcome::Conflict => {
                prop_assert!(!first_command.writes.is_empty(), "only a change makes a conflict");
                prop_assert_eq!(seen(&bed), seen(&serial), "a plan that was refused leaves no trace");
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    /// A plan on a change in flight is applied with it, or not at all.
    #[test]
    fn nothing_rests_on_what_is_lost(before in vec(an_ask(), 0..12), lost in an_ask(), next in an_ask()) {
        for is_lost in [true, false] {
            let mut bed = after(&before);
            let (_, in_flight) = make(&bed, &lost);
            prop_assert_eq!(bed.fly(&in_flight), Outcome::Ok);
            let (answer, command) = make(&bed, &next);
            if !is_lost {
                prop_assert_eq!(bed.apply(&in_flight), Outcome::Ok);
            }
            bed.lose_flight();
            let expect = make(&bed, &next).0;
            let outcome = bed.apply(&command);
            if outcome == Outcome::Ok {
                prop_assert_eq!(answer, expect);
            } else {
                prop_assert!(is_lost, "in order, nothing conflicts");
            }
        }
    }

    /// Requests for different secrets of directories that stand never meet.
    #[test]
    fn requests_for_different_secrets_do_not_conflict(first in an_ask(), second in an_ask()) {
        let standing: Vec<Ask> = (0..PATHS.len()).map(|n| Ask::Put(n, None, 0)).collect();
        let secret = |ask: &Ask| match ask {
            Ask::Put(n, ..) | Ask::Patch(n, _) | Ask::Get(n) | Ask::Delete(n) | Ask::Undelete(n)
            | Ask::Destroy(n, _) | Ask::Shorten(n) => Some(*n),
            // These change what a directory holds, or read it.
            Ask::List(_) | Ask::Forget(_) => None,
        };
        let (Some(one), Some(other)) = (secret(&first), secret(&second)) else { return Ok(()) };
        prop_assume!(one != other);
        let mut bed = after(&standing);
        let (_, first) = make(&bed, &first);
        let (_, second) = make(&bed, &second);
        prop_assert_eq!(bed.apply(&first), Outcome::Ok);
        prop_assert_eq!(bed.apply(&second), Outcome::Ok);
    }

    /// Whatever was written: once every secret is removed, no row is left but the root's own count.
    #[test]
    fn removing_everything_leaves_nothing(asks in vec(an_ask(), 0..25)) {
        let mut bed = after(&asks);
        for n in 0..PATHS.len() {
            commit(&mut bed, &Ask::Forget(n));
        }
        let left: Vec<_> = bed.view.rows().into_keys().collect();
        prop_assert!(left.iter().all(|row| *row == key::machine() || *row == key::container(ROOT)), "{:?}", left);
    }
}

#[test]
fn a_full_directory_takes_no_further_secret() {
    let mut bed = after(&[Ask::Put(0, None, 0)]);
    let full = ContainerState {
        children: CHILDREN_MAX,
        ..ContainerState::default()
    };
    bed.view.write([(key::container(ROOT), Some(full.encode()))]);
    for refused in [Ask::Put(1, None, 1), Ask::Put(2, None, 1), Ask::Shorten(1)] {
        let told = commit(&mut bed, &refused);
        assert!(
            told.contains("1,000,000 names") && told.contains("use a subdirectory"),
            "{told}"
        );
    }
    assert!(
        commit(&mut bed, &Ask::Put(0, None, 2)).contains("Written"),
        "is there already"
    );
}

fn at(path: &str) -> SecretPath {
    SecretPath::parse(path).expect("is a path")
}

/// A store with one secret `a` of so many versions.
fn with_versions(count: u64) -> Bed {
    after(&(0..count).map(|_| Ask::Put(0, None, 0)).collect::<Vec<_>>())
}

fn run(bed: &mut Bed, request: &Request) -> Result<Reply, Error> {
    bed.run(|txn| {
        let reply = plan(txn, ROOT, &Config::default(), request);
        if reply.is_err() {
            txn.abandon();
        }
        reply
    })
}

#[test]
fn versions_that_cannot_be_changed_are_named_and_nothing_is_done() {
    type Make = fn(Vec<u64>) -> Request;
    let delete: Make = |versions| Request::Delete {
        path: at("a"),
        versions,
    };
    let undelete: Make = |versions| Request::Undelete {
        path: at("a"),
        versions,
    };
    let destroy: Make = |versions| Request::Destroy {
        path: at("a"),
        versions,
    };
    let mut bed = with_versions(3);
    let mut check = |make: Make, versions: &[u64], expect: Option<&str>| {
        let before = bed.view.rows();
        let told = run(&mut bed, &make(versions.to_vec()));
        let told = told.err().map(|error| error.to_string());
        assert_eq!(told.as_deref(), expect, "{versions:?}");
        if told.is_some() {
            let mut after = bed.view.rows();
            after.insert(key::machine(), before[&key::machine()].clone());
            assert_eq!(after, before, "nothing was changed");
        }
    };
    for make in [delete, undelete, destroy] {
        check(make, &[7], Some("no such version: 7; nothing was changed"));
        check(make, &[9, 0, 4], Some("no such version: 9, 0, 4; nothing was changed"));
    }
    // One that exists takes those that do not along; a repetition is as good as the first time.
    check(destroy, &[1, 7], None);
    check(destroy, &[1], None);
    check(destroy, &[1, 7], Some("no such version: 7; nothing was changed"));
    check(undelete, &[1], Some("destroyed for good: 1; nothing was changed"));
    check(
        undelete,
        &[8, 1],
        Some("no such version: 8; destroyed for good: 1; nothing was changed"),
    );
    check(undelete, &[2], None);
    check(delete, &[2], None);
    check(delete, &[2], None);
    check(delete, &[1], None);
    check(undelete, &[1, 2], None);
    check(delete, &[], None);
    check(delete, &[], None);
    let many: Vec<u64> = (1_000_000..1_001_000).collect();
    let told = run(&mut bed, &destroy(many))
        .map(drop)
        .expect_err("are not there")
        .to_string();
    assert!(told.len() < 512 && told.contains("and 980 more"), "{told}");
    let told = run(&mut bed, &destroy((0..1_001).collect())).map(drop);
    assert_eq!(told, Err(Error::Invalid("name 1 to 1,000 versions")));

    // A secret of settings alone has no current version.
    let mut bed = after(&[Ask::Shorten(0)]);
    assert_eq!(run(&mut bed, &delete(vec![])).map(drop), Err(Error::NotFound));
}

#[test]
fn settings_that_change_nothing_are_refused() {
    let mut bed = with_versions(1);
    for path in ["a", "new"] {
        let request = Request::WriteMetadata {
            path: at(path),
            change: MetadataChange::default(),
        };
        let told = run(&mut bed, &request).map(drop).expect_err("asks for nothing");
        assert!(
            matches!(told, Error::Invalid(text) if text.contains("max_versions")),
            "{told}"
        );
    }
    let custom = |count: usize| Request::WriteMetadata {
        path: at("a"),
        change: MetadataChange {
            custom: Some((0..count).map(|n| (n.to_string(), String::new())).collect()),
            ..MetadataChange::default()
        },
    };
    for count in [0, 60] {
        assert!(run(&mut bed, &custom(count)).is_ok(), "{count}");
    }
    assert!(run(&mut bed, &custom(61)).is_err());
}

#[test]
fn a_batch_reads_each_secret_once_and_no_more_than_its_bytes() {
    let mut bed = Bed::new(23);
    for n in 0..5 {
        let put = Request::Put {
            path: at(&n.to_string()),
            data: SecretBytes::from(format!("{{\"a\":\"{}\"}}", "x".repeat((1 << 20) - 8))),
            cas: None,
        };
        run(&mut bed, &put).expect("is good");
    }
    let batch = |names: &[&str]| Request::BatchGet {
        paths: names.iter().map(|name| at(name)).collect(),
    };
    let four = run(&mut bed, &batch(&["0", "1", "none", "2", "3"]));
    assert!(matches!(four, Ok(Reply::Items(items)) if items.len() == 5), "4 MiB fit");
    for (names, expect) in [
        (&["0", "1", "2", "3", "4"][..], "ask for fewer at a time"),
        (&["0", "1", "0"], "name each once"),
        (&["none", "none"], "name each once"),
    ] {
        let told = run(&mut bed, &batch(names)).map(drop).expect_err("is refused");
        assert!(told.to_string().contains(expect), "{told}");
    }
}

#[test]
fn no_name_and_no_value_stands_in_any_row() {
    use base64::Engine as _;

    let mut bed = Bed::new(22);
    let path = "canary-directory/canary-secret";
    let data = r#"{"canary-key":"canary-value"}"#;
    let put = Request::Put {
        path: SecretPath::parse(path).expect("is a path"),
        data: SecretBytes::from(data.to_owned()),
        cas: None,
    };
    bed.run(|txn| plan(txn, ROOT, &Config::default(), &put).map(drop))
        .expect("is good");
    let change = MetadataChange {
        custom: Some([("canary-name".to_owned(), "canary-text".to_owned())].into()),
        ..MetadataChange::default()
    };
    let path = SecretPath::parse(path).expect("is a path");
    bed.run(|txn| plan(txn, ROOT, &Config::default(), &Request::WriteMetadata { path, change }).map(drop))
        .expect("is good");
    for (row_key, row) in bed.view.rows() {
        let bytes = [row_key, row].concat();
        // "canary" in clear, in hexadecimal digits, and in base64 wherever it begins.
        let encoded = |shift: usize| {
            let text = base64::engine::general_purpose::STANDARD_NO_PAD.encode([&b"\0\0"[..shift], b"canary"].concat());
            text.as_bytes()[(shift * 8).div_ceil(6)..text.len() - 1].to_vec()
        };
        for form in [
            b"canary".to_vec(),
            b"63616e617279".to_vec(),
            encoded(0),
            encoded(1),
            encoded(2),
        ] {
            assert!(!bytes.windows(form.len()).any(|window| window == form));
        }
    }
}
