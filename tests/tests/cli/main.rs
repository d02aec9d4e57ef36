//! The program's commands, as people and scripts use them, against a real node.

mod audit;
mod browser;
mod leases;
mod namespaces;
mod pages;
#[path = "../http/provider.rs"]
mod provider;
#[path = "../../../crates/auth/tests/jwt/signer.rs"]
mod signer;

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use aumbry_tests::{Cluster, run_cli};
use serde_json::{Value, json};

/// A node, and a person with a home of its own.
struct Bed {
    cluster: Cluster,
    home: tempfile::TempDir,
}

impl Bed {
    fn start() -> Result<Self> {
        Ok(Self {
            cluster: Cluster::start(1)?,
            home: tempfile::tempdir()?,
        })
    }

    /// Runs a command with this environment beside the address.
    fn run_as(&self, environment: &[(&str, &str)], arguments: &[&str], input: &str) -> Result<Output> {
        let (home, endpoints) = (self.home.path().to_string_lossy(), self.cluster.endpoints().join(","));
        let mut all = vec![
            ("HOME", &*home),
            ("AUMBRY_ADDR", &endpoints),
            ("AUMBRY_CACERT", self.cluster.ca_file()),
        ];
        all.extend_from_slice(environment);
        run_cli(arguments, &all, input)
    }

    /// Runs a command with the token that was kept, if any.
    fn run(&self, arguments: &[&str], input: &str) -> Result<Output> {
        self.run_as(&[], arguments, input)
    }

    /// Runs a command as root; it must succeed. Gives what it prints.
    fn root(&self, arguments: &[&str], input: &str) -> Result<String> {
        done(self.cluster.cli(arguments, input)?, arguments)
    }

    /// The same, as JSON.
    fn root_json(&self, arguments: &[&str], input: &str) -> Result<Value> {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--output", "json"]).collect();
        Ok(serde_json::from_str(&self.root(&arguments, input)?)?)
    }

    fn kept(&self) -> PathBuf {
        self.home.path().join(".aumbry").join("token")
    }
}

fn done(output: Output, arguments: &[&str]) -> Result<String> {
    ensure!(
        output.status.success(),
        "{arguments:?} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn any_path_is_written_read_changed_listed_and_deleted() -> Result<()> {
    let bed = Bed::start()?;
    bed.root(&["auth", "enable", "--max-lease-ttl", "8h", "approle"], "")?;
    bed.root(&["auth", "enable", "--path", "people", "userpass"], "")?;
    let role = "auth/approle/role/app";
    bed.root(
        &[
            "write",
            role,
            "token_policies=app",
            "token_policies=other",
            "token_ttl=1h",
        ],
        "",
    )?;
    assert_eq!(
        bed.root_json(&["read", role], "")?["data"]["token_policies"],
        json!(["app", "other"])
    );
    assert_eq!(bed.root(&["read", "--field", "token_ttl", role], "")?, "3600\n");
    assert_eq!(bed.root(&["list", "auth/approle/role"], "")?, "app\n");
    let made = bed.root_json(&["write", "--force", &format!("{role}/secret-id")], "")?;
    assert!(
        made["data"]["secret_id"].as_str().is_some_and(|id| !id.is_empty()),
        "{made}"
    );
    // The body from standard input and from a file.
    bed.root(&["write", "/v1/secret/data/x", "-"], r#"{"data":{"a":1,"b":"two"}}"#)?;
    let file = bed.home.path().join("patch.json");
    std::fs::write(&file, r#"{"data":{"a":null}}"#)?;
    bed.root(&["patch", "secret/data/x", &format!("@{}", file.display())], "")?;
    assert_eq!(
        bed.root_json(&["read", "secret/data/x"], "")?["data"]["data"],
        json!({ "b": "two" })
    );
    let first = bed.root_json(&["read", "secret/data/x", "version=1"], "")?;
    assert_eq!(first["data"]["data"]["a"], 1);
    bed.root(&["delete", role], "")?;
    assert_eq!(bed.cluster.cli(&["read", role], "")?.status.code(), Some(6));
    // The mounts of the methods.
    let listed = bed.root_json(&["auth", "list"], "")?;
    let paths: Vec<&str> = listed
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|row| row["path"].as_str())
        .collect();
    assert_eq!(paths, ["approle/", "people/", "token/"]);
    bed.root(&["auth", "tune", "--max-lease-ttl", "4h", "approle"], "")?;
    assert_eq!(
        bed.root_json(&["auth", "tune", "approle"], "")?["max_lease_ttl"],
        14_400
    );
    bed.root(&["auth", "disable", "people"], "")?;
    assert!(!bed.root(&["auth", "list"], "")?.contains("people/"));
    Ok(())
}

#[test]
fn a_login_is_kept_where_nobody_else_can_read_it() -> Result<()> {
    let bed = Bed::start()?;
    bed.root(
        &["policy", "write", "app", "-"],
        "path \"secret/data/app\" { capabilities = [\"create\", \"update\", \"read\"] }",
    )?;
    bed.root(&["auth", "enable", "userpass"], "")?;
    bed.root(&["auth", "enable", "approle"], "")?;
    bed.root(
        &["write", "auth/userpass/users/ann", "token_policies=app", "password=-"],
        "c0rrect",
    )?;
    bed.root(&["write", "auth/approle/role/app", "token_policies=app"], "")?;
    let role_id = bed.root(&["read", "--field", "role_id", "auth/approle/role/app/role-id"], "")?;
    let secret_id = bed.root(
        &[
            "write",
            "--force",
            "--field",
            "secret_id",
            "auth/approle/role/app/secret-id",
        ],
        "",
    )?;
    // A file that others can read does not stay so.
    std::fs::create_dir_all(bed.home.path().join(".aumbry"))?;
    std::fs::write(bed.kept(), "old")?;
    std::fs::set_permissions(bed.kept(), std::fs::Permissions::from_mode(0o644))?;

    let before = bed.run(&["kv", "put", "secret/app", "a=b"], "")?;
    assert_eq!(before.status.code(), Some(4), "{}", said(&before));
    let arguments = ["login", "--method", "userpass", "username=ann", "--output", "json"];
    let wrong = bed.run(&arguments, "wr0ng")?;
    assert_eq!(wrong.status.code(), Some(4), "{}", said(&wrong));
    assert_eq!(std::fs::read(bed.kept())?, b"old", "a login that failed keeps nothing");
    let told: Value = serde_json::from_str(&done(bed.run(&arguments, "c0rrect\n")?, &arguments)?)?;
    assert_eq!(told["metadata"]["username"], "ann");
    let kept = std::fs::read_to_string(bed.kept())?;
    assert!(!told.to_string().contains(&kept), "the token is not printed");
    assert_eq!(std::fs::metadata(bed.kept())?.permissions().mode() & 0o777, 0o600);
    assert_eq!(
        std::fs::metadata(bed.home.path().join(".aumbry"))?.permissions().mode() & 0o022,
        0
    );
    done(bed.run(&["kv", "put", "secret/app", "a=b"], "")?, &["kv", "put"])?;
    assert_eq!(
        bed.run(&["kv", "put", "secret/other", "a=b"], "")?.status.code(),
        Some(4)
    );

    // The other method, its evidence in files, its token printed and not kept.
    let (role, secret) = (bed.home.path().join("role-id"), bed.home.path().join("secret-id"));
    std::fs::write(&role, format!("{role_id}\n"))?;
    std::fs::write(&secret, format!("{secret_id}\n"))?;
    let (role, secret) = (
        format!("role_id=@{}", role.display()),
        format!("secret_id=@{}", secret.display()),
    );
    let arguments = [
        "login",
        "--method",
        "approle",
        "--no-store",
        "--field",
        "token",
        &role,
        &secret,
    ];
    let token = done(bed.run(&arguments, "")?, &arguments)?;
    assert_ne!(token, kept);
    assert_eq!(std::fs::read_to_string(bed.kept())?, kept);
    let read = bed.run_as(
        &[("AUMBRY_TOKEN", &token)],
        &["kv", "get", "--field", "a", "secret/app"],
        "",
    )?;
    assert_eq!(done(read, &["kv", "get"])?, "b");
    // By a token, from standard input; and out again.
    done(bed.run(&["login", "-"], &token)?, &["login"])?;
    assert_eq!(std::fs::read_to_string(bed.kept())?, token);
    done(bed.run(&["token", "revoke", "--own"], "")?, &["token", "revoke"])?;
    assert_eq!(bed.run(&["token", "lookup"], "")?.status.code(), Some(4));
    Ok(())
}

#[test]
fn what_is_wrapped_is_given_once() -> Result<()> {
    let bed = Bed::start()?;
    bed.root(&["kv", "put", "secret/app", "password=s3cret"], "")?;
    let ways: [&[&str]; 3] = [
        &[
            "read",
            "--wrap-ttl",
            "5m",
            "--field",
            "wrapping_token",
            "secret/data/app",
        ],
        &[
            "kv",
            "get",
            "--wrap-ttl",
            "5m",
            "--field",
            "wrapping_token",
            "secret/app",
        ],
        &[
            "token",
            "create",
            "--ttl",
            "1h",
            "--wrap-ttl",
            "5m",
            "--field",
            "wrapping_token",
        ],
    ];
    for way in ways {
        let token = bed.root(way, "")?;
        // Whoever has it needs no other token.
        let arguments = ["unwrap", "--output", "json"];
        let first = done(bed.run(&arguments, &token)?, &arguments)?;
        assert!(first.contains("s3cret") || first.contains("client_token"), "{first}");
        let again = bed.run(&arguments, &token)?;
        assert_eq!(again.status.code(), Some(4), "{}", said(&again));
        assert!(said(&again).contains("known to somebody else"), "{}", said(&again));
    }
    let wrapped = bed.root(
        &[
            "read",
            "--wrap-ttl",
            "5m",
            "--field",
            "wrapping_token",
            "secret/data/app",
        ],
        "",
    )?;
    let own = bed.run_as(&[("AUMBRY_TOKEN", &wrapped)], &["unwrap", "--own"], "")?;
    assert!(done(own, &["unwrap"])?.contains("s3cret"));
    Ok(())
}

#[test]
fn the_output_has_three_forms_and_single_fields() -> Result<()> {
    let bed = Bed::start()?;
    bed.root(&["kv", "put", "secret/app", "-"], r#"{"list":[1,"no"],"word":"a: b"}"#)?;
    let yaml = bed.root(&["read", "--output", "yaml", "secret/data/app"], "")?;
    let expected = "data:\n  data:\n    list:\n      - 1\n      - \"no\"\n    word: \"a: b\"\n";
    assert!(yaml.contains(expected), "{yaml}");
    assert!(
        bed.root(&["kv", "get", "--output", "yaml", "secret/app"], "")?
            .starts_with("data:\n  list:\n")
    );
    assert_eq!(bed.root(&["kv", "get", "--field", "word", "secret/app"], "")?, "a: b");
    assert_eq!(
        bed.root(&["kv", "get", "--field", "word", "--output", "json", "secret/app"], "")?,
        "\"a: b\"\n"
    );
    assert_eq!(
        bed.root(&["kv", "get", "--field", "list", "secret/app"], "")?,
        "[1,\"no\"]\n"
    );
    assert_eq!(
        bed.root(&["list", "--output", "yaml", "secret/metadata"], "")?,
        "- app\n"
    );
    assert_eq!(
        bed.root(&["token", "create", "--ttl", "1h", "--field", "renewable"], "")?,
        "true\n"
    );
    assert_eq!(
        bed.cluster
            .cli(&["kv", "get", "--field", "none", "secret/app"], "")?
            .status
            .code(),
        Some(6)
    );
    Ok(())
}

#[test]
fn a_secret_of_either_version_is_one_command() -> Result<()> {
    let bed = Bed::start()?;
    bed.root(
        &[
            "secrets",
            "enable",
            "--path",
            "old",
            "--version",
            "1",
            "--max-lease-ttl",
            "1h",
            "kv",
        ],
        "",
    )?;
    for path in ["old/a", "old/b/c"] {
        bed.root(&["kv", "put", path, "x=1"], "")?;
        assert_eq!(bed.root(&["kv", "get", "--field", "x", path], "")?, "1");
    }
    assert_eq!(bed.root(&["kv", "list", "old"], "")?, "a\nb/\n");
    bed.root(&["kv", "delete", "old/a"], "")?;
    assert_eq!(bed.cluster.cli(&["kv", "get", "old/a"], "")?.status.code(), Some(6));
    assert_ne!(
        bed.cluster
            .cli(&["kv", "undelete", "--versions", "1", "old/b/c"], "")?
            .status
            .code(),
        Some(0)
    );
    // With versions: an older one comes back as a new one.
    for word in ["one", "two"] {
        bed.root(&["kv", "put", "secret/a", &format!("x={word}")], "")?;
    }
    assert_eq!(
        bed.root_json(&["kv", "rollback", "--version", "1", "secret/a"], "")?["version"],
        3
    );
    assert_eq!(bed.root(&["kv", "get", "--field", "x", "secret/a"], "")?, "one");
    bed.root(&["kv", "destroy", "--versions", "2", "secret/a"], "")?;
    assert_eq!(
        bed.cluster
            .cli(&["kv", "rollback", "--version", "2", "secret/a"], "")?
            .status
            .code(),
        Some(6)
    );
    bed.root(&["secrets", "tune", "--version", "2", "old"], "")?;
    assert_eq!(bed.root_json(&["kv", "get", "old/b/c"], "")?["metadata"]["version"], 1);
    Ok(())
}

#[test]
fn tokens_are_made_by_roles_and_told_what_they_may() -> Result<()> {
    let bed = Bed::start()?;
    bed.root(
        &[
            "write",
            "auth/token/roles/ci",
            "orphan=true",
            "token_period=1h",
            "allowed_policies=app",
        ],
        "",
    )?;
    let made = bed.root_json(&["token", "create", "--role", "ci", "--policy", "app"], "")?;
    assert_eq!((&made["orphan"], &made["ttl"]), (&json!(true), &json!(3_600)));
    let token = made["token"].as_str().context("no token")?;
    bed.root(
        &["policy", "write", "app", "-"],
        "path \"secret/data/app\" { capabilities = [\"read\"] }",
    )?;
    let asked = [
        "token",
        "capabilities",
        "--token",
        "-",
        "secret/data/app",
        "secret/data/x",
    ];
    assert_eq!(
        bed.root_json(&asked, token)?,
        json!({ "secret/data/app": ["read"], "secret/data/x": ["deny"] })
    );
    let own = bed.root_json(&["token", "capabilities", "secret/data/x"], "")?;
    assert_eq!(own["secret/data/x"], json!(["root"]));
    let bound = bed.root_json(&["token", "create", "--bound-cidr", "10.0.0.0/8", "--period", "2h"], "")?;
    let used = bed.run_as(
        &[("AUMBRY_TOKEN", bound["token"].as_str().unwrap_or_default())],
        &["token", "lookup"],
        "",
    )?;
    assert_eq!(used.status.code(), Some(4), "it is bound to other addresses");
    Ok(())
}

#[test]
fn an_entity_is_who_logs_in_under_its_alias() -> Result<()> {
    let bed = Bed::start()?;
    bed.root(&["auth", "enable", "--path", "people", "userpass"], "")?;
    bed.root(&["write", "auth/people/users/ann", "password=-"], "c0rrect")?;
    bed.root(&["identity", "write", "entity", "ann-of-sales", "policies=app"], "")?;
    bed.root(&["identity", "alias", "--mount", "people", "ann", "ann-of-sales"], "")?;
    let found = bed.root_json(&["identity", "lookup", "--mount", "auth/people/", "ann"], "")?;
    assert_eq!(found["data"]["name"], "ann-of-sales");
    let id = found["data"]["id"].as_str().context("no id")?.to_owned();
    let login = ["login", "--method", "userpass", "--path", "people", "username=ann"];
    done(bed.run(&login, "c0rrect")?, &login)?;
    let own = ["read", "--field", "entity_id", "auth/token/lookup-self"];
    assert_eq!(done(bed.run(&own, "")?, &own)?, id);
    bed.root(
        &[
            "identity",
            "write",
            "group",
            "sales",
            &format!("member_entity_ids={id}"),
            "policies=sales",
        ],
        "",
    )?;
    assert_eq!(bed.root(&["identity", "list", "group"], "")?, "sales\n");
    let members = bed.root_json(
        &["identity", "read", "--field", "member_entity_ids", "group", "sales"],
        "",
    )?;
    assert_eq!(members, json!([id]));
    for kind in ["group", "entity"] {
        let name = if kind == "group" { "sales" } else { "ann-of-sales" };
        bed.root(&["identity", "delete", kind, name], "")?;
        assert_eq!(
            bed.cluster.cli(&["identity", "read", kind, name], "")?.status.code(),
            Some(6)
        );
    }
    Ok(())
}

#[test]
fn exit_codes_are_those_that_are_documented() -> Result<()> {
    let bed = Bed::start()?;
    bed.root(&["kv", "put", "secret/app", "a=b"], "")?;
    bed.root(&["kv", "delete", "secret/app"], "")?;
    let cases: [(&[&str], i32); 14] = [
        (&["kv", "list", "secret"], 0),
        (&["read", "nothing/here"], 6),
        (&["read", "secret/data/none"], 6),
        (&["read", "secret/data/app"], 6),
        (&["list", "auth/approle/role"], 6),
        (&["read"], 2),
        (&["write", "secret/data/x"], 2),
        (&["write", "--force", "secret/data/x", "a=b"], 2),
        (&["write", "secret/data/x", "nonsense"], 2),
        (&["unwrap", "a-token"], 2),
        (&["login", "--method", "userpass"], 2),
        (&["token", "capabilities", "--token", "a-token", "x"], 2),
        (&["kv", "put", "--cas", "7", "secret/app", "a=b"], 7),
        (&["kv", "get", "--output", "xml", "secret/app"], 2),
    ];
    for (arguments, code) in cases {
        let output = bed.cluster.cli(arguments, "")?;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
    }
    let denied = bed.run_as(&[("AUMBRY_TOKEN", "hvs.wrong")], &["read", "sys/mounts"], "")?;
    assert_eq!(denied.status.code(), Some(4), "{}", said(&denied));
    // Nobody is there.
    let nobody = [("AUMBRY_ADDR", "127.0.0.1:1"), ("AUMBRY_TIMEOUT", "3s")];
    assert_eq!(bed.run_as(&nobody, &["read", "sys/mounts"], "")?.status.code(), Some(1));
    Ok(())
}

#[test]
fn variables_of_vault_are_taken_where_they_mean_the_same() -> Result<()> {
    let bed = Bed::start()?;
    let root = bed.cluster.root_token();
    let root = root.expose_str().context("no text")?;
    let lookup = ["token", "lookup"];
    let vault = [("VAULT_TOKEN", root)];
    done(bed.run_as(&vault, &lookup, "")?, &lookup)?;
    // Aumbry's own go first.
    let both = [("VAULT_TOKEN", root), ("AUMBRY_TOKEN", "hvs.wrong")];
    assert_eq!(bed.run_as(&both, &lookup, "")?.status.code(), Some(4));
    let formats = [("VAULT_TOKEN", root), ("VAULT_FORMAT", "yaml")];
    assert!(done(bed.run_as(&formats, &lookup, "")?, &lookup)?.contains("policies:\n  - root\n"));
    let formats = [
        ("VAULT_TOKEN", root),
        ("VAULT_FORMAT", "yaml"),
        ("AUMBRY_FORMAT", "json"),
    ];
    assert!(done(bed.run_as(&formats, &lookup, "")?, &lookup)?.starts_with('{'));
    let wrap = [("VAULT_TOKEN", root), ("VAULT_WRAP_TTL", "1m")];
    let read = ["read", "--field", "wrapping_token", "sys/mounts"];
    assert!(!done(bed.run_as(&wrap, &read, "")?, &read)?.is_empty());
    let endpoints = bed.cluster.endpoints().join(",");
    let ca = [
        ("AUMBRY_ADDR", endpoints.as_str()),
        ("VAULT_TOKEN", root),
        ("VAULT_CACERT", bed.cluster.ca_file()),
    ];
    done(run_cli(&lookup, &ca, "")?, &lookup)?;
    for variable in ["VAULT_NAMESPACE", "AUMBRY_NAMESPACE"] {
        let refused = bed.run_as(&[("VAULT_TOKEN", root), (variable, "Team")], &lookup, "")?;
        assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
        // Nobody is taken to another place than they named.
        let missing = bed.run_as(&[("VAULT_TOKEN", root), (variable, "team")], &lookup, "")?;
        assert!(said(&missing).contains("no such namespace"), "{}", said(&missing));
        done(
            bed.run_as(&[("VAULT_TOKEN", root), (variable, "root")], &lookup, "")?,
            &lookup,
        )?;
    }
    let addressed = [
        ("AUMBRY_ADDR", "127.0.0.1:8200"),
        ("VAULT_ADDR", "http://127.0.0.1:1"),
        ("AUMBRY_TIMEOUT", "1s"),
    ];
    assert!(said(&bed.run_as(&addressed, &lookup, "")?).contains("VAULT_ADDR is not used"));
    Ok(())
}

#[test]
fn no_error_repeats_a_secret_or_leaves_one_without_a_next_step() -> Result<()> {
    let bed = Bed::start()?;
    bed.root(&["auth", "enable", "userpass"], "")?;
    let secret = "c4naryS3cret";
    let given = format!("password={secret}");
    let long: [(&[&str], &str); 9] = [
        (&["login", secret], "standard input"),
        (
            &["login", "--method", "userpass", "username=ann", &given],
            "password=@file",
        ),
        (&["unwrap", secret], "standard input"),
        (&["token", "lookup", secret], "standard input"),
        (&["token", "revoke", secret], "standard input"),
        (&["token", "capabilities", "--token", secret, "x"], "standard input"),
        (&["write", "nothing/here", &given], "secrets list"),
        (&["write", "auth/userpass/nothing", &given], ""),
        (&["kv", "put", "none/app", &given], "secrets list"),
    ];
    for format in ["table", "json", "yaml"] {
        for (arguments, next) in &long {
            let arguments: Vec<&str> = arguments.iter().copied().chain(["--output", format]).collect();
            let output = bed.cluster.cli(&arguments, secret)?;
            let told = said(&output);
            assert!(!output.status.success(), "{arguments:?}");
            assert!(!told.contains(secret), "{arguments:?}: {told}");
            assert!(told.contains(next), "{arguments:?}: {told}");
        }
        let wrapped = bed.run(&["unwrap", "--output", format], secret)?;
        assert!(!wrapped.status.success() && !said(&wrapped).contains(secret));
        let login = ["login", "--method", "userpass", "username=ann", "--output", format];
        let refused = bed.run(&login, secret)?;
        assert!(!refused.status.success() && !said(&refused).contains(secret));
    }
    // The control: a command that prints what it is given.
    let shown = bed.root(&["kv", "get", "--field", "password", "secret/app"], "");
    assert!(shown.is_err());
    bed.root(&["kv", "put", "secret/app", &given], "")?;
    assert_eq!(
        bed.root(&["kv", "get", "--field", "password", "secret/app"], "")?,
        secret
    );
    Ok(())
}
