use std::sync::{Arc, Mutex};
use std::time::Duration;

use aumbry_auth::ldap::Place;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// An element, with its length in four bytes.
fn element(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    let content = parts.concat();
    let length = u32::try_from(content.len()).expect("is short").to_be_bytes();
    [&[tag, 0x84], &length[..], &content].concat()
}

fn text(text: &str) -> Vec<u8> {
    element(4, &[text.as_bytes().to_vec()])
}

fn message(id: u8, operation: Vec<u8>) -> Vec<u8> {
    element(0x30, &[vec![2, 1, id], operation])
}

/// An answer with a code: to a bind (0x61), a search (0x65), or an extended request (0x78).
fn result(id: u8, operation: u8, code: u8) -> Vec<u8> {
    message(id, element(operation, &[vec![10, 1, code], text(""), text("")]))
}

fn found(id: u8, dn: &str, attribute: &str, value: &str) -> Vec<u8> {
    let values = element(0x31, &[text(value)]);
    let attributes = element(0x30, &[element(0x30, &[text(attribute), values])]);
    message(id, element(0x64, &[text(dn), attributes]))
}

fn nested(levels: usize) -> Vec<u8> {
    let inner = (0..levels).fold(Vec::new(), |inner, _| element(0x30, &[inner]));
    message(1, element(0x61, &[inner]))
}

/// Asks a server that says these, one for each request, whatever it is asked; and then nothing.
async fn told(find: Find, said: Vec<Vec<u8>>, is_starttls: bool) -> String {
    told_after(find, said, is_starttls).await.0
}

/// The same, with what it was asked: the tags of the operations.
async fn told_after(find: Find, said: Vec<Vec<u8>>, is_starttls: bool) -> (String, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let port = listener.local_addr().expect("is bound").port();
    let tags = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&tags);
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("somebody asks");
        let mut asked = [0; 512];
        for said in said {
            let read = stream.read(&mut asked).await.unwrap_or_default();
            // Short messages: a sequence, a number of one byte, the operation.
            seen.lock()
                .expect("no test panics with it")
                .extend(asked[..read].get(5).copied());
            let _ = stream.write_all(&said).await;
        }
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let key = rcgen::KeyPair::generate().expect("there are keys");
    let authority = rcgen::CertificateParams::default().self_signed(&key);
    let question = Question {
        places: vec![Place {
            is_tls: false,
            host: "127.0.0.1".to_owned(),
            port,
        }],
        is_starttls,
        authority_pem: authority.expect("is signed").pem(),
        timeout: Duration::from_secs(20),
        service: None,
        find,
        password: SecretBytes::from("a".to_owned()),
        alias_attribute: "uid".to_owned(),
        groups: None,
    };
    let answer = ask(question).await;
    server.abort();
    let told = match answer {
        Ok(Ok(known)) => format!("{} {:?}", known.dn, known.names),
        Ok(Err(why)) => why.to_owned(),
        Err(error) => error.to_string(),
    };
    let tags = tags.lock().expect("no test panics with it").clone();
    (told, tags)
}

fn at() -> Find {
    Find::At("uid=ann,dc=x".to_owned())
}

/// Abuse cases: 103.
#[tokio::test]
async fn an_answer_that_is_malformed_ends_its_question_alone() {
    for (said, expected) in [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "cannot be read"),
        (nested(10_000), "cannot be read"),
        (vec![0x30, 0x84, 0x7f, 0xff, 0xff, 0xff], "too long"),
        // Well-formed, and not what a bind is answered: the client panics at it.
        (message(1, element(0x61, &[])), "cannot be read"),
        (result(1, 0x61, 10), "code 10 "),
        (result(1, 0x61, 51), "code 51 "),
        (result(1, 0x61, 49), "wrong password"),
        (result(1, 0x61, 53), "not taken"),
    ] {
        let told = told(at(), vec![said], false).await;
        assert!(told.contains(expected), "{expected}: {told}");
    }
}

/// Before TLS anybody on the way may answer; nothing of a password was sent then. Abuse cases: 108.
#[tokio::test]
async fn starttls_is_answered_or_nothing_is_sent() {
    for (said, expected) in [
        (result(1, 0x78, 2), "code 2 to StartTLS"),
        (result(1, 0x61, 0), "cannot be read"),
        (nested(10_000), "too long"),
        // An answer that somebody slipped in behind is no TLS.
        ([result(1, 0x78, 0), result(1, 0x61, 0)].concat(), "cannot be reached"),
    ] {
        let told = told(at(), vec![said], true).await;
        assert!(told.contains(expected), "{expected}: {told}");
    }
}

/// Who is known by a domain is looked for once its password was taken; references to other directories are passed over.
#[tokio::test]
async fn a_user_of_a_domain_is_one_entry_of_this_directory() {
    let find = || {
        let search = Search {
            base: "dc=x".to_owned(),
            filter: "(userPrincipalName=ann@x.org)".to_owned(),
        };
        Find::As("ann@x.org".to_owned(), search)
    };
    let bound = result(1, 0x61, 0);
    let end = result(2, 0x65, 0);
    let ann = found(2, "cn=Ann,dc=x", "UID", "ann");
    let reference = message(2, element(0x73, &[text("ldap://127.0.0.1:1/dc=other??sub")]));
    for (said, expected) in [
        (
            vec![reference.clone(), ann.clone(), end.clone()],
            "cn=Ann,dc=x [\"ann\"]",
        ),
        (vec![reference, end.clone()], "unknown user"),
        (vec![ann.clone(), ann.clone(), end.clone()], "ambiguous user"),
        (vec![ann.clone(), result(2, 0x65, 4)], "ambiguous user"),
        (vec![ann.clone(), ann.clone(), ann.clone(), end.clone()], "too long"),
        (vec![found(2, "", "uid", "ann"), end], "unknown user"),
        (vec![ann.clone(), result(2, 0x65, 10)], "code 10 to a search"),
        (vec![ann, result(2, 0x65, 32)], "no userdn"),
    ] {
        let told = told(find(), vec![bound.clone(), said.concat()], false).await;
        assert!(told.contains(expected), "{expected}: {told}");
    }
}

/// Who guesses names learns nothing by how much is asked for each. Abuse cases: 24.
#[tokio::test]
async fn abuse_024_who_is_not_there_costs_as_many_questions_as_a_wrong_password() {
    let find = || {
        Find::Search(Search {
            base: "dc=x".to_owned(),
            filter: "(uid=ann)".to_owned(),
        })
    };
    let (ann, end) = (found(1, "uid=ann,dc=x", "uid", "ann"), result(1, 0x65, 0));
    let there = vec![[ann.clone(), end.clone()].concat(), result(2, 0x61, 49)];
    assert_eq!(
        told_after(find(), there, false).await,
        ("wrong password".to_owned(), vec![0x63, 0x60])
    );
    // Whatever is said of nobody's password is nothing: that it is right, too.
    for code in [0, 32, 34, 49, 53, 80] {
        let missing = vec![end.clone(), result(2, 0x61, code)];
        assert_eq!(
            told_after(find(), missing, false).await,
            ("unknown user".to_owned(), vec![0x63, 0x60]),
            "{code}"
        );
    }
    let two = vec![[ann.clone(), ann, end].concat(), result(2, 0x61, 49)];
    assert_eq!(
        told_after(find(), two, false).await,
        ("ambiguous user".to_owned(), vec![0x63, 0x60])
    );
}

#[test]
fn attributes_have_their_names_in_any_case_and_all_their_values() {
    let entry = |name: &str| {
        let mut entry = empty_entry("cn=x");
        entry
            .attrs
            .insert(name.to_owned(), vec!["a".to_owned(), "b".to_owned()]);
        entry
    };
    assert_eq!(
        values(&entry("memberOf"), "memberof"),
        Ok(vec!["a".to_owned(), "b".to_owned()])
    );
    assert_eq!(values(&entry("cn"), "uid"), Ok(Vec::new()));
    assert_eq!(
        values(&entry("memberOf;range=0-1499"), "memberOf"),
        Err("too many values")
    );
    let mut binary = empty_entry("cn=x");
    binary.bin_attrs.insert("CN".to_owned(), vec![vec![0xff]]);
    assert_eq!(values(&binary, "cn"), Err("a value is no text"));
}
