use aumbry_types::{ObjectId, RequestId};
use proptest::prelude::*;

use super::*;
use crate::Principal;

fn record(path: &str, who: &str, namespace: &str) -> Record {
    let mut fields = Vec::new();
    if !namespace.is_empty() {
        fields.push((NAMESPACE.to_owned(), Field::Clear(namespace.to_owned())));
    }
    Record {
        request_id: RequestId::from_bytes([path.len() as u8; 16]),
        attempt: 1,
        operation: "kv.get".to_owned(),
        path: path.to_owned(),
        principal: Some(Principal {
            accessor: format!("accessor-{who}"),
            display_name: who.to_owned(),
            policies: Vec::new(),
            entity: Some(ObjectId::from_bytes([who.len() as u8; 16])),
        }),
        decision: Decision::Allowed,
        reason: String::new(),
        deciding_policies: Vec::new(),
        rule: String::new(),
        client: "[::1]:4711".to_owned(),
        tls_identity: String::new(),
        node: 1,
        leader: 1,
        region: String::new(),
        fields,
        response: None,
        count: 1,
    }
}

const PLACE: Place = Place {
    seq: 5,
    index: 4,
    term: 1,
    log_time: 1_000,
    outcome: 0,
};

fn texts(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_client_is_known_by_its_address() {
    for (client, expected) in [
        ("10.0.0.1:51000", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.1"),
        ("[2001:db8::7]:51000", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("2001:db8::7", "2001:db8::7"),
        ("others", "others"),
        ("", ""),
    ] {
        assert_eq!(host(client), expected, "{client}");
    }
}

#[test]
fn each_part_of_a_filter_counts() {
    let it = record("secret/a/b", "ann", "");
    let taken = |change: &dyn Fn(&mut Filter)| {
        let mut filter = Filter::default();
        change(&mut filter);
        filter.takes(&it, &PLACE)
    };
    assert!(taken(&|_| {}));
    for (names, is_it) in [(&["ann"][..], true), (&["x", "ann"], true), (&["x"], false)] {
        assert_eq!(taken(&|filter| filter.identities = texts(names)), is_it, "{names:?}");
    }
    assert!(taken(
        &|filter| filter.identities = vec![ObjectId::from_bytes([3; 16]).to_string()]
    ));
    assert!(taken(&|filter| filter.accessors = texts(&["accessor-ann"])));
    assert!(!taken(&|filter| filter.accessors = texts(&["ann"])));
    for (path, exact, below) in [
        ("secret/a/b", true, true),
        ("secret/a", false, true),
        ("secret", false, true),
        ("secret/a/", false, false),
        ("secret/a/b/c", false, false),
        ("secret/a/", false, false),
        ("secre", false, false),
    ] {
        let path = path.to_owned();
        assert_eq!(
            taken(&|filter| filter.path = PathFilter::Exact(path.clone())),
            exact,
            "{path}"
        );
        assert_eq!(
            taken(&|filter| filter.path = PathFilter::Below(path.clone())),
            below,
            "{path}"
        );
    }
    for (operation, is_it) in [("kv.get", true), ("kv.*", true), ("kv", false), ("token.*", false)] {
        assert_eq!(
            taken(&|filter| filter.operations = texts(&[operation])),
            is_it,
            "{operation}"
        );
    }
    for (outcome, is_it) in [("ok", true), ("allowed", true), ("denied", false), ("conflict", false)] {
        assert_eq!(taken(&|filter| filter.outcomes = texts(&[outcome])), is_it, "{outcome}");
    }
    assert!(taken(&|filter| filter.addresses = texts(&["::1"])));
    assert!(!taken(&|filter| filter.addresses = texts(&["[::1]:4711"])));
    assert!(taken(
        &|filter| filter.request_id = Some(RequestId::from_bytes([10; 16]).to_string())
    ));
    assert!(!taken(&|filter| filter.request_id = Some(String::new())));
    assert!(taken(
        &|filter| (filter.since_ms, filter.until_ms) = (1_000, Some(1_000))
    ));
    assert!(!taken(&|filter| filter.since_ms = 1_001));
    assert!(!taken(&|filter| filter.until_ms = Some(999)));
    assert!(taken(&|filter| (filter.from_index, filter.to_index) = (4, Some(4))));
    assert!(!taken(&|filter| filter.from_index = 5));
    assert!(!taken(&|filter| filter.to_index = Some(3)));
}

#[test]
fn a_namespace_is_told_of_its_own_records() {
    let cut = format!("team/{}…", "x".repeat(500));
    for (own, recorded, alone, with_below) in [
        ("", "", true, true),
        ("", "team", false, true),
        ("team", "", false, false),
        ("team", "team", true, true),
        ("team", "team/app", false, true),
        ("team", "teams", false, false),
        ("team", "other/team", false, false),
        ("team", cut.as_str(), false, true),
    ] {
        for (is_with_below, expected) in [(false, alone), (true, with_below)] {
            let filter = Filter {
                namespace: NamespacePath::parse(own).unwrap(),
                is_with_below,
                ..Filter::default()
            };
            let taken = filter.takes(&record("secret/a", "ann", recorded), &PLACE);
            assert_eq!(taken, expected, "{own}, {recorded}, {is_with_below}");
            assert_eq!(filter.takes_clear("raft.leader", &PLACE), own.is_empty());
        }
    }
}

#[test]
fn a_batch_is_found_by_each_of_its_paths() {
    let long = format!("secret/{}", "x".repeat(600));
    let mut batch = record("secret/a,secret/b", "ann", "");
    for packed in ["secret/a\nsecret/b", &long[..512], &long[512..]] {
        batch.fields.push(("paths".to_owned(), Field::Clear(packed.to_owned())));
    }
    for path in ["secret/a", "secret/b", &long] {
        let filter = Filter {
            path: PathFilter::Exact(path.to_owned()),
            ..Filter::default()
        };
        assert!(filter.takes(&batch, &PLACE), "{path}");
    }
}

fn some(names: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    proptest::sample::subsequence(names, 0..=names.len()).prop_map(|names| texts(&names))
}

proptest! {
    /// What the filter takes is never held back by a sieve, and a full run of records lets little through.
    #[test]
    fn a_sieve_never_denies_what_is_there(
        runs in proptest::collection::vec((0_u8..40, 0_u8..6, 0_u8..3), 1..256),
        identities in some(&["who0", "who3", "nobody"]),
        operations in some(&["kv.get", "kv.*", "kv.put"]),
        outcomes in some(&["allowed", "denied", "ok"]),
        path in (0_u8..44, any::<bool>(), any::<bool>()),
        salt in any::<[u8; 16]>(),
        namespace in 0_usize..3,
        is_with_below in any::<bool>(),
    ) {
        let namespaces = ["", "team", "team/app"];
        let named = |path: u8| format!("secret/{}/{path}", path % 5);
        let records: Vec<Record> = runs
            .iter()
            .map(|(path, who, namespace)| record(&named(*path), &format!("who{who}"), namespaces[usize::from(*namespace)]))
            .collect();
        let mut sieve = Sieve::default();
        for record in &records {
            sieve.note(&salt, record);
        }
        let filter = Filter {
            namespace: NamespacePath::parse(namespaces[namespace]).unwrap(),
            is_with_below,
            identities,
            operations,
            outcomes,
            path: match path {
                (_, false, _) => PathFilter::Any,
                (at, true, true) => PathFilter::Exact(named(at)),
                (at, true, false) => PathFilter::Below(format!("secret/{}", at % 7)),
            },
            ..Filter::default()
        };
        let is_there = records.iter().any(|record| filter.takes(record, &PLACE));
        prop_assert!(!is_there || sieve.may_hold(&Probe::new(&salt, &filter)));
    }
}

#[test]
fn a_sieve_holds_most_of_what_is_not_there_back() {
    let salt = [7; 16];
    let mut sieve = Sieve::default();
    for at in 0..256 {
        let mut one = record(
            &format!("secret/{}/{}", at % 16, at % 64),
            &format!("who{}", at % 32),
            "",
        );
        one.request_id = RequestId::from_bytes([at as u8; 16]);
        sieve.note(&salt, &one);
    }
    let passes = (0..10_000).filter(|at| {
        let filter = Filter {
            path: PathFilter::Exact(format!("secret/none/{at}")),
            ..Filter::default()
        };
        sieve.may_hold(&Probe::new(&salt, &filter))
    });
    let passes = passes.count();
    assert!(passes < 100, "{passes} of 10,000");
}
