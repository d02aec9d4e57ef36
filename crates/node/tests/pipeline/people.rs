//! Lockouts by the settings of a mount, codes that come with a login, and policies of passwords.

use aumbry_auth::identity::mfa;
use aumbry_auth::lockout::{self, Lockout};
use aumbry_auth::userpass;
use aumbry_crypto::totp::{Algorithm, Settings};
use aumbry_logical::{Body, Verb};
use aumbry_node::method::{Asked, LoginAsk, MethodAsk, Shown};
use aumbry_node::{MountChange, MountOptions, MountTable, passwords};
use aumbry_types::MountPath;
use serde_json::{Value, json};

use crate::bed::*;

const SETTINGS: Settings = Settings {
    algorithm: Algorithm::Sha1,
    digits: 6,
    period_s: 30,
    skew: 1,
};

fn body(value: &Value) -> Body {
    Body::parse(value.to_string().as_bytes()).expect("is a body")
}

fn mount() -> MountPath {
    MountPath::parse("userpass").expect("is a path")
}

impl Bed {
    async fn ask(&self, path: &str, verb: Verb, asked: Asked) -> Result<Value, Failure> {
        let ask = Operation::Method(MethodAsk {
            path: path.to_owned(),
            verb,
            asked,
            said: Vec::new(),
        });
        match self.call(ask).await? {
            Reply::Json { data, .. } if data.is_empty() => Ok(Value::Null),
            Reply::Json { data, .. } => Ok(serde_json::from_slice(data.expose()).expect("is JSON")),
            _ => panic!("another reply"),
        }
    }

    async fn with_users(lockout: Lockout) -> Self {
        let bed = Self::open().await;
        let enable = Operation::MountEnable {
            table: MountTable::Auth,
            path: mount(),
            kind: "userpass".to_owned(),
            description: String::new(),
            options: MountOptions {
                lockout,
                ..MountOptions::default()
            },
        };
        assert_eq!(reason(bed.call(enable).await), "OK");
        for user in ["ann", "bob"] {
            let path = format!("users/{user}");
            let request = userpass::Request::parse(Verb::Write, &path, body(&json!({ "password": "right" })));
            let request = request.expect("is one").hashed(&*bed.entropy);
            let asked = Asked::Userpass(mount(), request);
            let written = bed.ask(&format!("auth/userpass/{path}"), Verb::Write, asked).await;
            assert_eq!(reason(written), "OK");
        }
        bed
    }

    async fn login(&self, user: &str, password: &str, codes: &[(&str, &str)]) -> Result<Reply, Failure> {
        let shown = userpass::LoginRequest::new(user, SecretBytes::from(password.to_owned()));
        let given = codes
            .iter()
            .map(|(method, code)| ((*method).to_owned(), SecretBytes::from((*code).to_owned())));
        let path = format!("auth/userpass/login/{user}");
        let login = LoginAsk {
            codes: mfa::Codes::new(given).expect("are codes"),
            ..LoginAsk::new(mount(), path, Shown::Userpass(Arc::new(shown)))
        };
        let nobody = SecretBytes::default();
        let answer = self.call_as(&nobody, Operation::Login(login)).await;
        answer.map(|answer| answer.reply)
    }

    async fn lockout(&self, verb: Verb, path: &str, said: &Value) -> Result<Value, Failure> {
        let request = lockout::Request::parse(verb, path, &body(said)).expect("is one");
        self.ask(&format!("sys/{path}"), verb, Asked::Lockout(request)).await
    }

    async fn passwords(&self, verb: Verb, below: &str, request: passwords::Request) -> Result<Value, Failure> {
        let path = format!("sys/policies/password{below}");
        self.ask(&path, verb, Asked::Password(request)).await
    }

    async fn events(&self) -> Vec<String> {
        let read = Operation::AuditRead {
            from: 0,
            limit: 1_000,
            wait_size: 0,
        };
        match self.call(read).await {
            Ok(Reply::Audit(rows)) => rows.into_iter().map(|row| row.event).collect(),
            _ => panic!("no page"),
        }
    }
}

fn tune(lockout: &Value) -> Operation {
    let change = MountChange {
        lockout: Some(lockout::Change::parse(&body(lockout)).expect("is one")),
        ..MountChange::default()
    };
    Operation::MountTune(MountTable::Auth, mount(), change)
}

fn is_token(reply: &Result<Reply, Failure>) -> bool {
    matches!(reply, Ok(Reply::NewToken(_)))
}

/// The settings of the mount decide, those of now; who is locked is told and let in again by an operator.
#[tokio::test]
async fn a_lockout_is_what_the_mount_says() {
    let two = Lockout {
        threshold: 2,
        ..Lockout::default()
    };
    let bed = Bed::with_users(two).await;
    let accessor = match bed.call(Operation::MountRead(MountTable::Auth, mount())).await {
        Ok(Reply::MountRows(rows)) => {
            assert_eq!(rows[0].options.lockout, two);
            rows[0].info.accessor.clone()
        }
        _ => panic!("no mount"),
    };
    for _ in 0..2 {
        assert_eq!(reason(bed.login("ann", "wrong", &[]).await), "LOGIN_REFUSED");
    }
    assert!(!is_token(&bed.login("ann", "right", &[]).await), "two are enough");
    assert!(is_token(&bed.login("bob", "right", &[]).await));
    let told = bed
        .lockout(Verb::Read, "locked-users", &json!({}))
        .await
        .expect("is told");
    let found = &told["by_namespace"][0]["mount_accessors"][0];
    assert_eq!(
        (&told["total"], &found["alias_identifiers"]),
        (&json!(1), &json!(["ann"]))
    );
    assert_eq!(found["mount_accessor"], json!(accessor));
    // More guesses are allowed: whoever has not made so many is locked no more, and what was counted stands.
    assert_eq!(reason(bed.call(tune(&json!({ "lockout_threshold": "4" }))).await), "OK");
    assert!(is_token(&bed.login("ann", "right", &[]).await));
    for _ in 0..4 {
        assert_eq!(reason(bed.login("ann", "wrong", &[]).await), "LOGIN_REFUSED");
    }
    assert!(!is_token(&bed.login("ann", "right", &[]).await));
    let unlock = format!("locked-users/{accessor}/unlock/ann");
    assert_eq!(reason(bed.lockout(Verb::Write, &unlock, &json!({})).await), "OK");
    assert!(is_token(&bed.login("ann", "right", &[]).await));
    assert_eq!(reason(bed.call(tune(&json!({ "lockout_disable": true }))).await), "OK");
    for _ in 0..6 {
        assert_eq!(reason(bed.login("ann", "wrong", &[]).await), "LOGIN_REFUSED");
    }
    assert!(is_token(&bed.login("ann", "right", &[]).await), "no lockout, no lock");
    // Mounts that lock nobody are not set as if they did.
    let enable = Operation::MountEnable {
        table: MountTable::Auth,
        path: MountPath::parse("approle").expect("is a path"),
        kind: "approle".to_owned(),
        description: String::new(),
        options: MountOptions {
            lockout: two,
            ..MountOptions::default()
        },
    };
    assert_eq!(reason(bed.call(enable).await), "INVALID_REQUEST");
    let events = bed.events().await;
    let has = |operation: &str, text: &str| {
        events
            .iter()
            .any(|event| event.contains(operation) && event.contains(text))
    };
    assert!(has("auth.enable", "lockout_threshold") && has("auth.tune", "lockout_disable"));
    assert!(has("lockout.list", "sys/locked-users") && has("lockout.unlock", "unlock/ann"));
}

fn base32(text: &str) -> Vec<u8> {
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for c in text.chars() {
        let digit = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".find(c).expect("is a digit");
        bits = bits << 5 | u32::try_from(digit).expect("is small");
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
            bits &= (1 << count) - 1;
        }
    }
    bytes
}

/// A code that comes with a login is good once, a wrong one is counted, and a login without one waits as before. Abuse cases: 26, 27.
#[tokio::test]
async fn a_code_comes_with_a_login() {
    let bed = Bed::with_users(Lockout::default()).await;
    let identity = async |path: &str, said: &Value| {
        let below = path.strip_prefix("mfa/").expect("is of it");
        let request = mfa::Request::parse(Verb::Write, below, body(said)).expect("is one");
        bed.ask(&format!("identity/{path}"), Verb::Write, Asked::Mfa(request))
            .await
    };
    // Codes that nobody asks for are not looked at.
    let entity = match bed.login("ann", "right", &[("phone", "000000")]).await {
        Ok(Reply::NewToken(new)) => new.info.entity.expect("is somebody's").to_string(),
        _ => panic!("no token"),
    };
    let made = identity("mfa/method/totp", &json!({ "issuer": "a", "method_name": "phone" })).await;
    let method = made.expect("is made")["method_id"]
        .as_str()
        .expect("is text")
        .to_owned();
    let ask = json!({ "method_id": method, "entity_id": entity });
    let made = identity("mfa/method/totp/admin-generate", &ask).await.expect("is made");
    let url = made["url"].as_str().expect("is text");
    let (_, secret) = url.split_once("secret=").expect("has one");
    let secret = base32(secret.split('&').next().unwrap_or_default());
    let people = json!({ "mfa_method_ids": [method], "auth_method_types": ["userpass"] });
    assert_eq!(reason(identity("mfa/login-enforcement/people", &people).await), "OK");

    assert!(matches!(bed.login("ann", "right", &[]).await, Ok(Reply::LoginWaits(_))));
    let period = || aumbry_types::Clock::wall(&*bed.clock).0 / 30_000;
    let code = SETTINGS.code(&secret, period());
    let wrong = bed.login("ann", "wrong", &[("phone", &code)]).await;
    assert_eq!(
        wrong.err().map(|failure| failure.message).as_deref(),
        Some("invalid username or password")
    );
    assert!(is_token(
        &bed.login("ann", "right", &[("phone", &format!("passcode={code}"))])
            .await
    ));
    let refused = async |user: &str, method: &str, code: &str| {
        let failure = bed
            .login(user, "right", &[(method, code)])
            .await
            .err()
            .expect("is refused");
        assert_eq!(
            (failure.reason, &*failure.message),
            ("LOGIN_REFUSED", "login MFA validation failed")
        );
    };
    refused("ann", &method, &code).await;
    refused("bob", "phone", &code).await;
    refused("ann", "other", &code).await;
    bed.clock.advance_ms(60_000);
    for wrong in ["1", "2", "3", "4"] {
        refused("ann", "phone", wrong).await;
    }
    // Five were wrong, with the one that came twice.
    let next = SETTINGS.code(&secret, period());
    refused("ann", &method, &next).await;
    bed.clock.advance_ms(300_000);
    let last = SETTINGS.code(&secret, period());
    assert!(
        is_token(&bed.login("ann", "right", &[(&method, &last)]).await),
        "for a while"
    );
    let events = bed.events().await;
    let logins: Vec<&String> = events.iter().filter(|event| event.contains("userpass.login")).collect();
    assert!(logins.iter().any(|event| event.contains("passcode")));
    assert!(
        logins.iter().any(|event| event.contains("second factor")),
        "why is on record"
    );
    // A code is six digits, which may stand in an id; with its quotes it does not.
    let shows = |event: &str, code: &str| event.contains(&format!("\"{code}\""));
    assert!(
        !logins
            .iter()
            .any(|event| [&code, &next, &last].iter().any(|code| shows(event, code)))
    );
}

/// A policy is kept as it was written, a password keeps it, and what is made is not on record.
#[tokio::test]
async fn passwords_are_made_by_their_policy() {
    let bed = Bed::open().await;
    let name = || Name::parse("usual").expect("is a name");
    let text =
        "length = 12\nrule \"charset\" { charset = \"abc\" }\nrule \"charset\" { charset = \"01\" min-chars = 3 }\n";
    let write = |text: &str| passwords::Request::Write(name(), text.to_owned());
    let generate = async || {
        bed.passwords(Verb::Read, "/usual/generate", passwords::Request::Generate(name()))
            .await
    };
    assert_eq!(reason(generate().await), "NOT_FOUND");
    assert_eq!(
        reason(bed.passwords(Verb::List, "", passwords::Request::List).await),
        "NOT_FOUND"
    );
    assert_eq!(reason(bed.passwords(Verb::Write, "/usual", write(text)).await), "OK");
    let wrong = bed.passwords(Verb::Write, "/usual", write("length = 2")).await;
    assert_eq!(
        wrong.err().map(|failure| failure.message).as_deref(),
        Some("length is 4 to 100 characters")
    );
    let read = bed
        .passwords(Verb::Read, "/usual", passwords::Request::Read(name()))
        .await;
    assert_eq!(read.ok(), Some(json!({ "policy": text })));
    let list = bed.passwords(Verb::List, "", passwords::Request::List).await;
    assert_eq!(list.ok(), Some(json!({ "keys": ["usual"] })));
    let mut made = Vec::new();
    for _ in 0..5 {
        let told = generate().await.expect("is made");
        let password = told["password"].as_str().expect("is text").to_owned();
        assert!(
            password.len() == 12 && password.matches(['0', '1']).count() >= 3,
            "{password}"
        );
        assert!(!made.contains(&password));
        made.push(password);
    }
    let events = bed.events().await;
    assert_eq!(
        events
            .iter()
            .filter(|event| event.contains("password.generate"))
            .count(),
        6
    );
    assert!(
        !events
            .iter()
            .any(|event| made.iter().any(|password| event.contains(password.as_str())))
    );
    assert_eq!(
        reason(
            bed.passwords(Verb::Delete, "/usual", passwords::Request::Delete(name()))
                .await
        ),
        "OK"
    );
    assert_eq!(reason(generate().await), "NOT_FOUND");
}
