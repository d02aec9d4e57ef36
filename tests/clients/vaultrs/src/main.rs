//! vaultrs against a server: client ADDRESS TOKEN [CA]. Prints how many operations were tried; the first that fails ends it.

use std::collections::HashMap;
use std::fmt::Debug;
use std::future::Future;
use std::process::exit;

use vaultrs::auth::{approle, userpass};
use vaultrs::client::{VaultClient, VaultClientSettingsBuilder};
use vaultrs::error::ClientError;
use vaultrs::{kv1, kv2, sys, token};

struct Tally(u64);

impl Tally {
    async fn ok<T>(&mut self, asked: impl Future<Output = Result<T, ClientError>>) -> T {
        self.0 += 1;
        match asked.await {
            Ok(answer) => answer,
            Err(error) => self.fail(&format!("{error:?}")),
        }
    }

    async fn refused<T: Debug>(&mut self, code: u16, asked: impl Future<Output = Result<T, ClientError>>) {
        self.0 += 1;
        match asked.await {
            // An answer with data is another error to this client than one with reasons alone.
            Err(error) if format!("{error:?}").contains(&format!("code: {code}")) => {}
            other => self.fail(&format!("{code} was expected: {other:?}")),
        }
    }

    fn same<T: PartialEq + Debug>(&self, found: T, expected: T) {
        if found != expected {
            self.fail(&format!("{found:?} instead of {expected:?}"));
        }
    }

    fn fail(&self, text: &str) -> ! {
        eprintln!("operation {}: {text}", self.0);
        exit(1)
    }
}

fn client(address: &str, token: &str, authority: Option<&String>) -> VaultClient {
    let settings = VaultClientSettingsBuilder::default()
        .address(address)
        .token(token)
        .ca_certs(authority.into_iter().cloned().collect::<Vec<String>>())
        .build()
        .expect("these are settings");
    VaultClient::new(settings).expect("a client is made")
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (address, authority) = (&arguments[0], arguments.get(2));
    let root = client(address, &arguments[1], authority);
    let mut t = Tally(0);

    // A standby says so with a code that is an error to this client.
    t.0 += 1;
    match sys::health(&root).await {
        Ok(health) => t.same((health.initialized, health.sealed), (true, false)),
        Err(error) if format!("{error:?}").contains("code: 429") => {}
        Err(error) => t.fail(&format!("{error:?}")),
    }

    // Versioned secrets.
    let data = HashMap::from([("user".to_owned(), "u".to_owned())]);
    let found = t_version(&t.ok(kv2::set(&root, "secret", "rs/a", &data)).await);
    t.same(found, 1);
    let read: HashMap<String, String> = t.ok(kv2::read(&root, "secret", "rs/a")).await;
    t.same(&read, &data);
    t.ok(kv2::set(&root, "secret", "rs/a", &data)).await;
    let first: HashMap<String, String> = t.ok(kv2::read_version(&root, "secret", "rs/a", 1)).await;
    t.same(&first, &data);
    let found = t.ok(kv2::list(&root, "secret", "rs")).await;
    t.same(found, vec!["a".to_owned()]);
    t.refused(404, kv2::list(&root, "secret", "none")).await;
    let metadata = t.ok(kv2::read_metadata(&root, "secret", "rs/a")).await;
    t.same(metadata.current_version, 2);
    t.ok(kv2::delete_latest(&root, "secret", "rs/a")).await;
    t.refused(404, kv2::read::<HashMap<String, String>>(&root, "secret", "rs/a"))
        .await;
    t.ok(kv2::undelete_versions(&root, "secret", "rs/a", vec![2])).await;
    t.ok(kv2::delete_versions(&root, "secret", "rs/a", vec![1])).await;
    t.ok(kv2::destroy_versions(&root, "secret", "rs/a", vec![1])).await;
    t.ok(kv2::delete_metadata(&root, "secret", "rs/a")).await;

    // Mounts, and plain secrets.
    t.ok(sys::mount::enable(&root, "rs1", "kv", None)).await;
    let mounts = t.ok(sys::mount::list(&root)).await;
    t.same(mounts.contains_key("rs1/"), true);
    t.ok(kv1::set(&root, "rs1", "x", &HashMap::from([("a", "b")]))).await;
    let plain: HashMap<String, String> = t.ok(kv1::get(&root, "rs1", "x")).await;
    t.same(plain.get("a").map(String::as_str), Some("b"));
    let found = t.ok(kv1::list(&root, "rs1", "")).await.data.keys;
    t.same(found, vec!["x".to_owned()]);
    t.ok(kv1::delete(&root, "rs1", "x")).await;
    t.ok(sys::mount::disable(&root, "rs1")).await;

    // Policies.
    let rules = "path \"secret/data/rs/*\" { capabilities = [\"read\"] }";
    t.ok(sys::policy::set(&root, "rs", rules)).await;
    let found = t.ok(sys::policy::read(&root, "rs")).await.rules;
    t.same(found, rules.to_owned());
    let found = t.ok(sys::policy::list(&root)).await.policies.contains(&"rs".to_owned());
    t.same(found, true);

    // Tokens.
    let mut wanted = vaultrs::api::token::requests::CreateTokenRequest::builder();
    let made = t
        .ok(token::new(
            &root,
            Some(wanted.policies(vec!["rs".to_owned()]).ttl("1h")),
        ))
        .await;
    let child = client(address, &made.client_token, authority);
    let found = t.ok(token::lookup_self(&child)).await.policies;
    t.same(found, vec!["default".to_owned(), "rs".to_owned()]);
    t.ok(token::renew_self(&child, Some("30m"))).await;
    t.refused(403, kv2::set(&child, "secret", "rs/b", &data)).await;
    t.ok(token::lookup(&root, &made.client_token)).await;
    t.ok(token::lookup_accessor(&root, &made.accessor)).await;
    t.ok(token::renew(&root, &made.client_token, Some("10m"))).await;
    t.ok(token::revoke(&root, &made.client_token)).await;
    t.refused(403, token::lookup_self(&child)).await;
    let orphan = t.ok(token::new_orphan(&root, None)).await;
    t.ok(token::revoke_accessor(&root, &orphan.accessor)).await;

    // AppRole.
    t.ok(sys::auth::enable(&root, "rs-approle", "approle", None)).await;
    let found = t.ok(sys::auth::list(&root)).await.contains_key("rs-approle/");
    t.same(found, true);
    t.ok(approle::role::set(&root, "rs-approle", "ci", None)).await;
    let found = t.ok(approle::role::list(&root, "rs-approle")).await.keys;
    t.same(found, vec!["ci".to_owned()]);
    t.ok(approle::role::read(&root, "rs-approle", "ci")).await;
    let role_id = t.ok(approle::role::read_id(&root, "rs-approle", "ci")).await.role_id;
    let secret = t
        .ok(approle::role::secret::generate(&root, "rs-approle", "ci", None))
        .await;
    t.ok(approle::login(&root, "rs-approle", &role_id, &secret.secret_id))
        .await;
    t.refused(400, approle::login(&root, "rs-approle", &role_id, "nonsense"))
        .await;
    t.ok(approle::role::delete(&root, "rs-approle", "ci")).await;
    t.ok(sys::auth::disable(&root, "rs-approle")).await;

    // Userpass.
    t.ok(sys::auth::enable(&root, "rs-userpass", "userpass", None)).await;
    t.ok(userpass::user::set(
        &root,
        "rs-userpass",
        "alice",
        "correct horse",
        None,
    ))
    .await;
    t.ok(userpass::login(&root, "rs-userpass", "alice", "correct horse"))
        .await;
    t.refused(400, userpass::login(&root, "rs-userpass", "alice", "wrong"))
        .await;
    t.ok(sys::auth::disable(&root, "rs-userpass")).await;
    t.ok(sys::policy::delete(&root, "rs")).await;

    println!("operations {}", t.0);
}

fn t_version(metadata: &vaultrs::api::kv2::responses::SecretVersionMetadata) -> u64 {
    metadata.version
}
