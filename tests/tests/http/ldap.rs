//! Logins by a directory: OpenLDAP, with people, groups, an account that searches, and names that could be taken for more than names.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use aumbry_tests::{Answered, Authority, Cluster, Slapd, records};
use serde_json::{Value, json};

use crate::bed::{Http, done, text};

const SEARCHER_PASSWORD: &str = "searcher-password-canary";
const ANN_PASSWORD: &str = "ann-password-canary";
const REFUSED: &str = "{\"errors\":[\"ldap operation failed: failed to bind as user\"]}";

/// People by name; all but Ann have the password `right`.
const ODD_NAMES: [&str; 9] = [
    "bob",
    "a,b",
    "o'brien (x)",
    "back\\slash",
    "star*",
    "#hash",
    "plus+cn=x",
    "\u{e4}rger",
    "two words",
];

fn entries() -> String {
    let top = Slapd::TOP;
    let mut text = format!(
        "dn: {top}\nobjectClass: dcObject\nobjectClass: organization\no: example\ndc: example\n
dn: ou=people,{top}\nobjectClass: organizationalUnit\nou: people\n
dn: ou=groups,{top}\nobjectClass: organizationalUnit\nou: groups\n
dn: cn=searcher,{top}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: searcher\nuserPassword: {SEARCHER_PASSWORD}\n
dn: uid=ann,ou=people,{top}\nobjectClass: inetOrgPerson\nuid: ann\ncn: Ann\nsn: A\nmail: ann@example.org\nuserPassword: {ANN_PASSWORD}\n
dn: uid=none,ou=people,{top}\nobjectClass: inetOrgPerson\nuid: none\ncn: None\nsn: N\nmail: both@example.org\n
dn: uid=eve,ou=people,{top}\nobjectClass: inetOrgPerson\nuid: eve\ncn: Eve\nsn: E\nmail: both@example.org\nuserPassword: right\n
dn: ou=elsewhere,ou=people,{top}\nobjectClass: referral\nobjectClass: extensibleObject\nou: elsewhere\nref: ldap://127.0.0.1:1/ou=people,dc=other\n
dn: cn=Dev,ou=groups,{top}\nobjectClass: groupOfNames\ncn: Dev\nmember: uid=ann,ou=people,{top}\n
dn: cn=ops team,ou=groups,{top}\nobjectClass: groupOfUniqueNames\ncn: ops team\nuniqueMember: uid=bob,ou=people,{top}\n
dn: cn=posix,ou=groups,{top}\nobjectClass: posixGroup\ncn: posix\ngidNumber: 1\nmemberUid: ann\n\n"
    );
    for name in ODD_NAMES {
        // As a client of the directory would write them.
        let mut dn: String = name
            .chars()
            .flat_map(|c| {
                let is_special = matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' | '#');
                is_special.then_some('\\').into_iter().chain([c])
            })
            .collect();
        if !dn.is_ascii() {
            dn = dn.replace('\u{e4}', "\\C3\\A4");
        }
        let encoded = data_encoding::BASE64.encode(name.as_bytes());
        text.push_str(&format!(
            "dn: uid={dn},ou=people,{top}\nobjectClass: inetOrgPerson\nuid:: {encoded}\ncn: x\nsn: x\nuserPassword: right\n\n"
        ));
    }
    text
}

/// A name as it stands in the path of a request.
fn encoded(name: &str) -> String {
    name.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

async fn login(http: &Http, name: &str, password: &str) -> Result<Answered> {
    let path = format!("auth/ldap/login/{}", encoded(name));
    http.ask_with("POST", &path, &[], &json!({ "password": password }))
        .await
}

fn searching(slapd: &Slapd, authority: &Authority) -> Value {
    let top = Slapd::TOP;
    json!({
        "url": slapd.tls(), "certificate": authority.pem(),
        "binddn": format!("cn=searcher,{top}"), "bindpass": SEARCHER_PASSWORD,
        "userdn": format!("ou=people,{top}"), "userattr": "uid", "groupdn": format!("ou=groups,{top}"),
        "userfilter": "(|({{.UserAttr}}={{.Username}})(mail={{.Username}}))",
        "token_policies": "all",
    })
}

fn policies(answer: &Answered) -> BTreeSet<String> {
    let json = answer.json();
    let policies = json["auth"]["token_policies"].as_array().into_iter().flatten();
    policies.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Who guesses is locked on every node, and let in again by an operator; whom the directory does not know is not counted. Abuse cases: 25.
#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_is_locked_on_every_node() -> Result<()> {
    let authority = Authority::make()?;
    let slapd = Slapd::start(&authority, &entries()).await?;
    let cluster = Cluster::start(3)?;
    let root = Http::root(&cluster)?;
    let nodes: Vec<Http> = (0..3).map(|node| Http::on(&cluster, node, "")).collect::<Result<_>>()?;
    let lockout = json!({ "lockout_threshold": 3 });
    let enable = json!({ "type": "ldap", "user_lockout_config": lockout });
    done(&root, "POST", "sys/auth/ldap", enable).await?;
    done(&root, "POST", "auth/ldap/config", searching(&slapd, &authority)).await?;
    for (turn, name) in ["ann", "ANN", "Ann"].into_iter().enumerate() {
        let answer = login(&nodes[turn], name, "wrong").await?;
        ensure!(answer.code == 400 && answer.body == REFUSED, "{answer:?}");
        let answer = login(&nodes[turn], "stranger", "wrong").await?;
        ensure!(answer.code == 400 && answer.body == REFUSED, "{answer:?}");
    }
    for node in &nodes {
        let answer = login(node, "ann", ANN_PASSWORD).await?;
        ensure!(answer.code == 400 && answer.body == REFUSED, "locked: {answer:?}");
    }
    ensure!(
        login(&nodes[0], "bob", "right").await?.code == 200,
        "others are not locked"
    );
    let told = done(&root, "GET", "sys/locked-users", Value::Null).await?["data"].clone();
    let found = &told["by_namespace"][0]["mount_accessors"][0];
    ensure!(
        told["total"] == 1 && found["alias_identifiers"] == json!(["ann"]),
        "{told}"
    );
    let accessor = text(&found["mount_accessor"])?;
    let unlock = format!("sys/locked-users/{accessor}/unlock/Ann");
    done(&root, "POST", &unlock, Value::Null).await?;
    ensure!(login(&nodes[1], "ann", ANN_PASSWORD).await?.code == 200, "unlocked");
    let recorded = records(&cluster.client()?).await?;
    let logins = recorded
        .iter()
        .filter(|record| record.text("operation") == "ldap.login");
    let rules: Vec<String> = logins.map(|record| record.text("rule").to_owned()).collect();
    let count = |rule: &str| rules.iter().filter(|found| *found == rule).count();
    ensure!(
        count("wrong password") == 3 && count("locked") == 3,
        "why is on record: {rules:?}"
    );
    Ok(())
}

/// Whose password the directory takes gets in, with the policies of its groups, and with those of now. Abuse cases: 18, 23, 30.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_says_whose_a_password_is() -> Result<()> {
    let authority = Authority::make()?;
    let slapd = Slapd::start(&authority, &entries()).await?;
    let cluster = Cluster::start(3)?;
    let root = Http::root(&cluster)?;
    let nodes: Vec<Http> = (0..3).map(|node| Http::on(&cluster, node, "")).collect::<Result<_>>()?;
    done(&root, "POST", "sys/auth/ldap", json!({ "type": "ldap" })).await?;
    let answer = login(&nodes[0], "ann", ANN_PASSWORD).await?;
    ensure!(
        answer.code == 400 && answer.body == REFUSED,
        "not configured: {answer:?}"
    );
    done(&root, "POST", "auth/ldap/config", searching(&slapd, &authority)).await?;
    let read = root.ask("GET", "auth/ldap/config", &Value::Null).await?;
    ensure!(!read.body.contains(SEARCHER_PASSWORD), "{read:?}");
    ensure!(read.json()["data"]["bindpass_set"] == true, "{read:?}");
    done(
        &root,
        "POST",
        "auth/ldap/groups/Dev",
        json!({ "policies": "developers" }),
    )
    .await?;
    done(
        &root,
        "POST",
        "auth/ldap/groups/ops%20team",
        json!({ "policies": ["operators"] }),
    )
    .await?;
    done(&root, "POST", "auth/ldap/groups/own", json!({ "policies": "owners" })).await?;
    done(
        &root,
        "POST",
        "auth/ldap/users/bob",
        json!({ "policies": "bobs", "groups": "Own" }),
    )
    .await?;
    let listed = root.ask("LIST", "auth/ldap/groups", &Value::Null).await?.json();
    ensure!(listed["data"]["keys"] == json!(["dev", "ops team", "own"]), "{listed}");
    let read = root.ask("GET", "auth/ldap/users/bob", &Value::Null).await?.json();
    ensure!(
        read["data"] == json!({ "policies": ["bobs"], "groups": ["Own"] }),
        "{read}"
    );

    // One person, however it spells its name: one alias, one entity.
    let mut entities = BTreeSet::new();
    for (node, name) in ["ann", "ANN", "Ann"].into_iter().enumerate() {
        let answer = login(&nodes[node], name, ANN_PASSWORD).await?;
        ensure!(answer.code == 200, "{name}: {answer:?}");
        ensure!(
            policies(&answer) == set(&["all", "default", "developers"]),
            "{answer:?}"
        );
        ensure!(answer.json()["auth"]["metadata"]["username"] == "ann", "{answer:?}");
        entities.insert(text(&answer.json()["auth"]["entity_id"])?);
    }
    let answer = login(&nodes[0], "ann@example.org", ANN_PASSWORD).await?;
    entities.insert(text(&answer.json()["auth"]["entity_id"])?);
    ensure!(entities.len() == 1, "{entities:?}");
    let answer = login(&nodes[1], "bob", "right").await?;
    let expected = set(&["all", "bobs", "default", "operators", "owners"]);
    ensure!(policies(&answer) == expected, "{answer:?}");
    // Accounts and groups of the directory's that have nothing here.
    let answer = login(&nodes[2], "eve", "right").await?;
    ensure!(policies(&answer) == set(&["all", "default"]), "{answer:?}");

    for (at, (name, password)) in [
        ("ann", "right"),
        ("ann", "ANN-PASSWORD-CANARY"),
        ("ann", " "),
        ("ann", "ann-password-canary\0"),
        ("nobody", "right"),
        ("none", "right"),
        ("both@example.org", "right"),
        ("searcher", SEARCHER_PASSWORD),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = login(&nodes[at % 3], name, password).await?;
        ensure!(answer.code == 400 && answer.body == REFUSED, "{name}: {answer:?}");
    }
    // An empty password would be nobody's login, at the directory.
    for body in [json!({ "password": "" }), json!({}), json!({ "password": null })] {
        let answer = nodes[0].ask_with("POST", "auth/ldap/login/ann", &[], &body).await?;
        ensure!(answer.code == 400 && answer.body.contains("password"), "{answer:?}");
    }
    let recorded = records(&cluster.client()?).await?;
    let reasons: BTreeSet<&str> = recorded
        .iter()
        .filter(|record| record.text("operation") == "ldap.login" && !record.is_allowed())
        .map(|record| record.text("rule"))
        .collect();
    let expected = [
        "ambiguous user",
        "no password",
        "not configured",
        "unknown user",
        "wrong password",
    ];
    let others = BTreeSet::from(["not taken"]);
    ensure!(
        reasons.difference(&others).copied().collect::<BTreeSet<_>>() == BTreeSet::from(expected),
        "{reasons:?}"
    );
    let everything: String = recorded.iter().map(|record| record.event.to_string()).collect();
    ensure!(!everything.contains("password-canary"), "a password is on record");

    // What changes in the directory counts at the next login.
    let change = format!(
        "dn: cn=Dev,ou=groups,{0}\nchangetype: modify\nreplace: member\nmember: uid=eve,ou=people,{0}\n",
        Slapd::TOP
    );
    slapd.change(&change)?;
    let answer = login(&nodes[0], "ann", ANN_PASSWORD).await?;
    ensure!(policies(&answer) == set(&["all", "default"]), "{answer:?}");
    let answer = login(&nodes[1], "eve", "right").await?;
    ensure!(policies(&answer).contains("developers"), "{answer:?}");
    let change = format!(
        "dn: uid=ann,ou=people,{}\nchangetype: modify\nreplace: userPassword\nuserPassword: new\n",
        Slapd::TOP
    );
    slapd.change(&change)?;
    ensure!(
        login(&nodes[0], "ann", ANN_PASSWORD).await?.code == 400,
        "the old password"
    );
    ensure!(login(&nodes[0], "ann", "new").await?.code == 200, "the new password");
    Ok(())
}

/// A name is a name, whatever it looks like: in a filter, and in a place in the tree.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_no_part_of_a_question() -> Result<()> {
    let authority = Authority::make()?;
    let slapd = Slapd::start(&authority, &entries()).await?;
    let cluster = Cluster::start(1)?;
    let (root, nobody) = (Http::root(&cluster)?, Http::on(&cluster, 0, "")?);
    done(&root, "POST", "sys/auth/ldap", json!({ "type": "ldap" })).await?;
    let direct = json!({ "binddn": "", "bindpass": "", "userfilter": "" });
    let discovered = json!({ "binddn": "", "bindpass": "", "discoverdn": true, "userfilter": "" });
    done(&root, "POST", "auth/ldap/config", searching(&slapd, &authority)).await?;
    for mode in [json!({}), direct, discovered] {
        done(&root, "POST", "auth/ldap/config", mode.clone()).await?;
        for name in ODD_NAMES {
            let answer = login(&nobody, name, "right").await?;
            ensure!(answer.code == 200, "{mode} {name}: {answer:?}");
            ensure!(answer.json()["auth"]["metadata"]["username"] == name, "{answer:?}");
            ensure!(login(&nobody, name, "wrong").await?.code == 400, "{mode} {name}");
        }
        let answer = login(&nobody, "bob", "right").await?;
        ensure!(answer.code == 200, "{answer:?}");
        for name in [
            "*",
            "b*",
            "bo*",
            "?ob",
            "bob)(uid=*",
            "bob)(|(uid=*",
            "*)(objectClass=*",
            "x)(|(uid=bob",
            "bob\\",
            "bob\\2a",
            "\\62ob",
            "bob,ou=people,dc=example,dc=org",
            "bob+cn=x",
            "x,uid=bob",
            "uid=bob",
            "\"bob\"",
            "bob#",
            "#626f62",
            "{{.UserDN}}",
            "{{.Username}}",
            "b\u{f6}b",
            "bob\u{200b}",
        ] {
            let answer = login(&nobody, name, "right").await?;
            ensure!(answer.code == 400, "{mode} {name}: {answer:?}");
        }
        // What can be no name at all is turned away before anybody is asked.
        for name in ["bob\0", "\0", "bob\n", "bob\u{7f}", "bob/x", &"b".repeat(129)] {
            let answer = login(&nobody, name, "right").await?;
            ensure!((400..=404).contains(&answer.code), "{mode} {name:?}: {answer:?}");
        }
    }
    // A directory that does not know people by a domain takes none of them.
    done(
        &root,
        "POST",
        "auth/ldap/config",
        json!({ "discoverdn": false, "upndomain": "example.org" }),
    )
    .await?;
    let answer = login(&nobody, "bob", "right").await?;
    ensure!(answer.code == 400 && answer.body == REFUSED, "{answer:?}");
    Ok(())
}

/// A directory that is away, or that somebody else answers for, refuses nobody; passwords go to it by TLS. Abuse cases: 108.
#[tokio::test(flavor = "multi_thread")]
async fn passwords_go_to_the_directory_alone() -> Result<()> {
    let (authority, other) = (Authority::make()?, Authority::make()?);
    let mut slapd = Slapd::start(&authority, &entries()).await?;
    let cluster = Cluster::start(1)?;
    let (root, nobody) = (Http::root(&cluster)?, Http::on(&cluster, 0, "")?);
    done(&root, "POST", "sys/auth/ldap", json!({ "type": "ldap" })).await?;
    done(&root, "POST", "auth/ldap/config", searching(&slapd, &authority)).await?;
    let away = |answer: Answered| {
        ensure!(answer.code == 503 && !answer.body.contains("canary"), "{answer:?}");
        Ok(())
    };
    let dead = "ldaps://127.0.0.1:1";
    let rows = [
        (json!({}), true),
        (json!({ "certificate": other.pem() }), false),
        (json!({ "url": slapd.plain(), "starttls": true }), false),
        (json!({ "certificate": authority.pem() }), true),
        (json!({ "url": slapd.plain(), "starttls": false }), true),
        (json!({ "url": format!("{dead},{}", slapd.tls()) }), true),
        (json!({ "url": dead }), false),
        // A server without TLS where TLS is expected, and the other way round.
        (json!({ "url": slapd.plain().replace("ldap:", "ldaps:") }), false),
        (
            json!({ "url": slapd.tls().replace("ldaps:", "ldap:"), "starttls": true }),
            false,
        ),
        (
            json!({ "url": slapd.tls(), "starttls": false, "bindpass": "wrong" }),
            false,
        ),
        (
            json!({ "bindpass": SEARCHER_PASSWORD, "userdn": "ou=none,dc=example,dc=org" }),
            false,
        ),
        (json!({ "userdn": "ou=people,dc=example,dc=org" }), true),
    ];
    for (mut change, is_served) in rows {
        // It goes with the address, and is sent again with it.
        if change.get("url").is_some() && change.get("bindpass").is_none() {
            change["bindpass"] = SEARCHER_PASSWORD.into();
        }
        done(&root, "POST", "auth/ldap/config", change.clone()).await?;
        let answer = login(&nobody, "ann", ANN_PASSWORD).await?;
        match is_served {
            true => ensure!(answer.code == 200, "{change}: {answer:?}"),
            false => away(answer).with_context(|| change.to_string())?,
        }
    }
    slapd.stop()?;
    away(login(&nobody, "ann", ANN_PASSWORD).await?)?;
    slapd.run().await?;
    ensure!(login(&nobody, "ann", ANN_PASSWORD).await?.code == 200, "it is back");
    let recorded = records(&cluster.client()?).await?;
    let everything: String = recorded.iter().map(|record| record.event.to_string()).collect();
    ensure!(!everything.contains("password-canary"), "a password is on record");
    Ok(())
}

/// What could not be kept, or would let others in, is refused where it is configured, with what to do.
#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_is_unsafe_is_refused() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let root = Http::root(&cluster)?;
    done(&root, "POST", "sys/auth/ldap", json!({ "type": "ldap" })).await?;
    let good = json!({
        "url": "ldaps://ldap.example.org", "userdn": "ou=people,dc=example,dc=org", "binddn": "cn=a", "bindpass": SEARCHER_PASSWORD,
    });
    for (change, hint) in [
        (json!({ "url": "" }), "url is"),
        (json!({ "url": "http://ldap.example.org" }), "url is"),
        (json!({ "url": "ldaps://a,b" }), "url is"),
        (json!({ "url": "ldap://ldap.example.org" }), "starttls"),
        (json!({ "url": "ldap://ldap.example.org" }), "ldaps://"),
        (json!({ "url": "ldaps://a,ldap://b" }), "starttls"),
        (json!({ "insecure_tls": true }), "certificate"),
        (json!({ "deny_null_bind": false }), "empty password"),
        (json!({ "use_token_groups": true }), "groupfilter"),
        (json!({ "userdn": "" }), "userdn"),
        (json!({ "bindpass": "" }), "bindpass"),
        (json!({ "binddn": "" }), "binddn"),
        (json!({ "userattr": "uid=*)(x" }), "userattr"),
        (json!({ "groupattr": "c n" }), "groupattr"),
        (json!({ "userfilter": "(uid={{.UserDN}})" }), "{{.Username}}"),
        (json!({ "groupfilter": "(cn={{.Group}})" }), "{{.UserDN}}"),
        (json!({ "groupfilter": "(cn={{.Username}}" }), "parentheses"),
        (json!({ "upndomain": "a)(b" }), "upndomain"),
        (json!({ "request_timeout": 31 }), "request_timeout"),
        (json!({ "request_timeout": 0 }), "request_timeout"),
        (json!({ "certificate": "none" }), "certificate"),
        (json!({ "case_sensitive_names": true }), "lower case"),
        (json!({ "token_policies": "root" }), "root"),
    ] {
        let mut config = good.clone();
        for (name, value) in change.as_object().into_iter().flatten() {
            config[name] = value.clone();
        }
        let answer = root.ask("POST", "auth/ldap/config", &config).await?;
        let told = answer.json()["errors"].to_string();
        ensure!(answer.code == 400 && told.contains(hint), "{change}: {answer:?}");
        ensure!(!told.contains(SEARCHER_PASSWORD), "{told}");
    }
    ensure!(
        root.ask("GET", "auth/ldap/config", &Value::Null).await?.code == 404,
        "nothing was kept"
    );
    done(&root, "POST", "auth/ldap/config", good).await?;
    // Another setting alone keeps the password; another server never gets it.
    done(
        &root,
        "POST",
        "auth/ldap/config",
        json!({ "userattr": "uid", "token_ttl": "1h" }),
    )
    .await?;
    let read = root.ask("GET", "auth/ldap/config", &Value::Null).await?.json();
    ensure!(
        read["data"]["bindpass_set"] == true && read["data"]["token_ttl"] == 3_600,
        "{read}"
    );
    let moved = root
        .ask(
            "POST",
            "auth/ldap/config",
            &json!({ "url": "ldaps://evil.example.org" }),
        )
        .await?;
    ensure!(moved.code == 400 && moved.body.contains("bindpass"), "{moved:?}");
    done(
        &root,
        "POST",
        "auth/ldap/config",
        json!({ "url": "ldaps://evil.example.org", "binddn": "" }),
    )
    .await?;
    let read = root.ask("GET", "auth/ldap/config", &Value::Null).await?.json();
    ensure!(
        read["data"]["bindpass_set"] == false && read["data"]["deny_null_bind"] == true,
        "{read}"
    );
    for (path, body) in [
        ("groups/a", json!({ "policies": "root" })),
        ("users/a", json!({ "groups": "a/b" })),
        ("users/a%0Ab", json!({})),
    ] {
        let answer = root.ask("POST", &format!("auth/ldap/{path}"), &body).await?;
        ensure!((400..=404).contains(&answer.code), "{path} {body}: {answer:?}");
    }
    Ok(())
}

/// Groups of the directory are groups here, for as long as the directory says so; a token is renewed while it is away.
#[tokio::test(flavor = "multi_thread")]
async fn groups_of_the_directory_are_external_groups() -> Result<()> {
    let authority = Authority::make()?;
    let mut slapd = Slapd::start(&authority, &entries()).await?;
    let cluster = Cluster::start(1)?;
    let (root, nobody) = (Http::root(&cluster)?, Http::on(&cluster, 0, "")?);
    done(&root, "POST", "sys/auth/ldap", json!({ "type": "ldap" })).await?;
    let mut config = searching(&slapd, &authority);
    config["username_as_alias"] = true.into();
    done(&root, "POST", "auth/ldap/config", config).await?;
    let mounts = root.ask("GET", "sys/auth", &Value::Null).await?.json();
    let accessor = text(&mounts["data"]["ldap/"]["accessor"])?;
    let group = json!({ "name": "developers", "type": "external", "policies": "from-the-group" });
    let group = done(&root, "POST", "identity/group", group).await?;
    let alias = json!({ "name": "dev", "mount_accessor": accessor, "canonical_id": group["data"]["id"] });
    done(&root, "POST", "identity/group-alias", alias).await?;
    let answer = login(&nobody, "ann", ANN_PASSWORD).await?;
    let auth = answer.json()["auth"].clone();
    ensure!(auth["identity_policies"] == json!(["from-the-group"]), "{answer:?}");
    ensure!(!policies(&answer).contains("from-the-group"), "{answer:?}");
    let answer = login(&nobody, "bob", "right").await?;
    let is_in = answer.json()["auth"]["identity_policies"]
        .as_array()
        .is_some_and(|list| !list.is_empty());
    ensure!(answer.code == 200 && !is_in, "{answer:?}");
    slapd.stop()?;
    let ann = Http::on(&cluster, 0, &text(&auth["client_token"])?)?;
    let renewed = ann.ask("POST", "auth/token/renew-self", &json!({})).await?;
    ensure!(renewed.code == 200, "{renewed:?}");
    Ok(())
}
