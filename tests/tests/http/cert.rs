//! Logins by TLS certificates, on three nodes: whose key the connection proved, and nobody else.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use aumbry_tests::{Answered, Authority, Cluster, records, send_on};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::bed::{Http, done};

/// An authority of clients' certificates.
struct Clients {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, PEM; authorities may stand below it.
struct Held {
    chain: String,
    key: String,
}

impl Clients {
    fn make(name: &str) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key)?.pem();
        Ok(Self {
            pem,
            issuer: Issuer::new(params, key),
        })
    }

    /// A certificate with this name, changed as is wanted.
    fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Result<Held> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        Ok(Held {
            chain: params.signed_by(&key, &self.issuer)?.pem(),
            key: key.serialize_pem(),
        })
    }

    /// A list that revokes the certificate with this number.
    fn revoke(&self, serial: u64) -> Result<String> {
        self.list(serial, 2_100)
    }

    /// As that, good until the year begins.
    fn list(&self, serial: u64, until: i32) -> Result<String> {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2_025, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2_020, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer)?.pem()?)
    }
}

/// Asks a node to log in, with a certificate or without.
async fn login(cluster: &Cluster, node: usize, held: Option<&Held>, body: &Value) -> Result<Answered> {
    ask(cluster, node, held, ("POST", "auth/cert/login"), "", body).await
}

/// Asks a node with a token, and a certificate or without.
async fn ask(
    cluster: &Cluster,
    node: usize,
    held: Option<&Held>,
    (method, path): (&str, &str),
    token: &str,
    body: &Value,
) -> Result<Answered> {
    let authority = std::fs::read_to_string(cluster.ca_file())?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.with_root_certificates(roots);
    let config = match held {
        None => builder.with_no_client_auth(),
        Some(held) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(held.chain.as_bytes()).collect();
            builder.with_client_auth_cert(chain?, PrivateKeyDer::from_pem_slice(held.key.as_bytes())?)?
        }
    };
    let tcp = TcpStream::connect(&cluster.nodes()[node].http).await?;
    let name = ServerName::try_from("localhost")?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
    let headers = [("X-Vault-Token", token)];
    let headers = if token.is_empty() { &[][..] } else { &headers[..] };
    send_on(stream, method, &format!("/v1/{path}"), headers, &body.to_string()).await
}

const REFUSED: &str = "{\"errors\":[\"invalid certificate or no client certificate supplied\"]}";

/// Whoever has the key of a certificate that an entry names, or that its authority signed for clients, gets in on each node; all others are told the same.
#[tokio::test(flavor = "multi_thread")]
async fn holders_of_certificates_get_in() -> Result<()> {
    let (ours, theirs) = (Clients::make("ours")?, Clients::make("theirs")?);
    let cluster = Cluster::start(3)?;
    let root = Http::root(&cluster)?;
    done(&root, "POST", "sys/auth/cert", json!({ "type": "cert" })).await?;
    let entry = json!({
        "certificate": ours.pem, "allowed_common_names": "web-*", "allowed_organizational_units": "ops", "token_policies": "default",
    });
    done(&root, "POST", "auth/cert/certs/web", entry).await?;
    let ops = |params: &mut CertificateParams| params.distinguished_name.push(DnType::OrganizationalUnitName, "ops");
    let web = ours.issue("web-1", ops)?;
    for node in 0..3 {
        for body in [json!({ "name": "web" }), json!({ "name": "WEB" }), json!({})] {
            let answer = login(&cluster, node, Some(&web), &body).await?;
            let auth = &answer.json()["auth"];
            ensure!(
                answer.code == 200 && auth["metadata"]["common_name"] == "web-1",
                "{answer:?}"
            );
            ensure!(auth["metadata"]["cert_name"] == "web", "{answer:?}");
        }
    }
    // One below an intermediate authority, which it shows.
    let between = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.distinguished_name.push(DnType::CommonName, "between");
    let pem = params.signed_by(&between, &ours.issuer)?.pem();
    let between = Clients {
        pem,
        issuer: Issuer::new(params, between),
    };
    let mut below = between.issue("web-2", ops)?;
    ensure!(
        login(&cluster, 0, Some(&below), &json!({})).await?.code == 400,
        "a link is missing"
    );
    below.chain.push_str(&between.pem);
    let answer = login(&cluster, 0, Some(&below), &json!({})).await?;
    ensure!(answer.code == 200, "{answer:?}");
    let server = |params: &mut CertificateParams| {
        ops(params);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    let until = |year| {
        move |params: &mut CertificateParams| {
            ops(params);
            params.not_after = date_time_ymd(year, 1, 1);
        }
    };
    let from = |params: &mut CertificateParams| {
        ops(params);
        params.not_before = date_time_ymd(2_099, 1, 1);
    };
    let attacks = [
        ("no certificate", None),
        ("unknown certificate", Some(theirs.issue("web-1", ops)?)),
        ("name", Some(ours.issue("db-1", ops)?)),
        ("name", Some(ours.issue("web-1", |_| {})?)),
        ("chain", Some(ours.issue("web-1", server)?)),
        ("expired", Some(ours.issue("web-1", until(2_020))?)),
        ("not yet valid", Some(ours.issue("web-1", from)?)),
    ];
    let mut expected = BTreeSet::from(["unknown certificate".to_owned()]);
    for (at, (why, held)) in attacks.iter().enumerate() {
        let answer = login(&cluster, at % 3, held.as_ref(), &json!({ "name": "web" })).await?;
        ensure!(answer.code == 400 && answer.body == REFUSED, "{why}: {answer:?}");
        expected.insert((*why).to_owned());
    }
    let answer = login(&cluster, 0, Some(&web), &json!({ "name": "other" })).await?;
    ensure!(answer.code == 400 && answer.body == REFUSED, "{answer:?}");
    expected.insert("no entry".to_owned());
    let recorded = records(&cluster.client()?).await?;
    let logins: Vec<_> = recorded
        .iter()
        .filter(|r| r.text("operation") == "cert.login")
        .collect();
    let reasons: BTreeSet<String> = logins
        .iter()
        .filter(|r| !r.is_allowed())
        .map(|r| r.text("rule").to_owned())
        .collect();
    ensure!(reasons == expected, "{reasons:?}");
    let names = logins
        .iter()
        .filter(|r| r.event["fields"]["common_name"] == "web-1")
        .count();
    ensure!(names == 9, "{names} logins of web-1 are on record");
    Ok(())
}

/// A certificate that is pinned is its holder's alone, whatever another one says; one that is revoked is worth nothing. Abuse cases: 104.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_104_a_certificate_that_looks_like_another_is_refused() -> Result<()> {
    let ours = Clients::make("ours")?;
    let cluster = Cluster::start(1)?;
    let root = Http::root(&cluster)?;
    done(&root, "POST", "sys/auth/cert", json!({ "type": "cert" })).await?;
    let numbered = |serial: u64| {
        move |params: &mut CertificateParams| {
            params.serial_number = Some(SerialNumber::from(serial));
            let uri = Ia5String::try_from("spiffe://example/web").expect("is ASCII");
            params.subject_alt_names = vec![SanType::URI(uri)];
        }
    };
    let (pinned, other) = (ours.issue("web", numbered(7))?, ours.issue("web", numbered(8))?);
    done(
        &root,
        "POST",
        "auth/cert/certs/pinned",
        json!({ "certificate": pinned.chain }),
    )
    .await?;
    ensure!(
        login(&cluster, 0, Some(&pinned), &json!({})).await?.code == 200,
        "it is pinned"
    );
    ensure!(
        login(&cluster, 0, Some(&other), &json!({})).await?.code == 400,
        "it is another one with its name"
    );
    let forged = Clients::make("ours")?.issue("web", numbered(7))?;
    ensure!(
        login(&cluster, 0, Some(&forged), &json!({})).await?.code == 400,
        "it says the same of itself"
    );
    // The certificate without its key is no more than a text.
    let stolen = Held {
        chain: pinned.chain.clone(),
        key: other.key.clone(),
    };
    ensure!(
        login(&cluster, 0, Some(&stolen), &json!({})).await.is_err(),
        "a stolen certificate is shown"
    );
    done(&root, "DELETE", "auth/cert/certs/pinned", Value::Null).await?;
    ensure!(
        login(&cluster, 0, Some(&pinned), &json!({})).await?.code == 400,
        "the pin is gone"
    );
    let entry = json!({ "certificate": ours.pem, "allowed_uri_sans": "spiffe://example/*" });
    done(&root, "POST", "auth/cert/certs/ours", entry).await?;
    for held in [&pinned, &other] {
        ensure!(
            login(&cluster, 0, Some(held), &json!({})).await?.code == 200,
            "its authority is known"
        );
    }
    done(&root, "POST", "auth/cert/crls/ours", json!({ "crl": ours.revoke(7)? })).await?;
    ensure!(
        login(&cluster, 0, Some(&pinned), &json!({})).await?.code == 400,
        "it is revoked"
    );
    ensure!(
        login(&cluster, 0, Some(&other), &json!({})).await?.code == 200,
        "another one is revoked"
    );
    done(&root, "DELETE", "auth/cert/crls/ours", Value::Null).await?;
    ensure!(
        login(&cluster, 0, Some(&pinned), &json!({})).await?.code == 200,
        "the list is gone"
    );
    for bad in [
        json!({}),
        json!({ "certificate": "nonsense" }),
        json!({ "certificate": "" }),
    ] {
        let answer = root.ask("POST", "auth/cert/certs/bad", &bad).await?;
        ensure!(answer.code == 400, "{answer:?}");
    }
    let answer = root
        .ask("POST", "auth/cert/crls/bad", &json!({ "crl": ours.pem }))
        .await?;
    ensure!(answer.code == 400, "{answer:?}");
    // A certificate beside a token decides nothing: who logs in asks for it, and a token is what it is.
    let made = login(&cluster, 0, Some(&other), &json!({})).await?.json();
    let token = made["auth"]["client_token"].as_str().context("a token")?;
    let own = Http::on(&cluster, 0, token)?;
    done(&own, "GET", "auth/token/lookup-self", Value::Null).await?;
    Ok(())
}

/// What is renewed by whom: in words, with which certificate, with which token.
type Renewal<'a> = (&'a str, Option<&'a Held>, &'a str, u16);

/// A stolen token is not kept alive, and is not used in somebody else's name. Abuse cases: 32, 105.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_105_a_token_is_renewed_with_its_certificate_alone() -> Result<()> {
    let ours = Clients::make("ours")?;
    let cluster = Cluster::start(3)?;
    let root = Http::root(&cluster)?;
    done(&root, "POST", "sys/auth/cert", json!({ "type": "cert" })).await?;
    let entry = json!({ "certificate": ours.pem, "token_policies": "maker", "token_ttl": 600 });
    done(&root, "POST", "auth/cert/certs/web", entry).await?;
    let policy = json!({ "policy": "path \"auth/token/create\" { capabilities = [\"update\"] }" });
    done(&root, "PUT", "sys/policies/acl/maker", policy).await?;
    let numbered =
        |serial: u64| move |params: &mut CertificateParams| params.serial_number = Some(SerialNumber::from(serial));
    let web = ours.issue("web", numbered(7))?;
    // Of the same authority, and it says the same.
    let twin = ours.issue("web", numbered(7))?;
    let other = ours.issue("db", numbered(8))?;
    let made = login(&cluster, 0, Some(&web), &json!({})).await?.json();
    let token = made["auth"]["client_token"].as_str().context("a token")?.to_owned();
    let create = ("POST", "auth/token/create");
    let child = ask(&cluster, 0, None, create, &token, &json!({ "ttl": 300 }))
        .await?
        .json();
    let child = child["auth"]["client_token"].as_str().context("a child")?.to_owned();
    let renew = async |what: &str, held: Option<&Held>, by: &str, code: u16| -> Result<()> {
        for node in 0..3 {
            let (path, body) = match by {
                "" => ("auth/token/renew", json!({ "token": token })),
                _ => ("auth/token/renew-self", json!({})),
            };
            let by = if by.is_empty() { root.token() } else { by };
            let answer = ask(&cluster, node, held, ("POST", path), by, &body).await?;
            ensure!(answer.code == code, "{what}, at {node}: {answer:?}");
        }
        Ok(())
    };
    let bound: [Renewal<'_>; 6] = [
        ("its own", Some(&web), &token, 200),
        ("none", None, &token, 403),
        ("one that says the same", Some(&twin), &token, 403),
        ("another's", Some(&other), &token, 403),
        ("root without it", None, "", 403),
        ("what was made with it", None, &child, 200),
    ];
    for (what, held, by, code) in bound {
        renew(what, held, by, code).await?;
    }
    // Beside another's certificate a token is good for nothing; beside a newer one of its own name, or none, it is what it is.
    let look = ("GET", "auth/token/lookup-self");
    for (held, code) in [(None, 200), (Some(&web), 200), (Some(&twin), 200), (Some(&other), 403)] {
        for node in 0..3 {
            let answer = ask(&cluster, node, held, look, &token, &Value::Null).await?;
            ensure!(answer.code == code, "{answer:?}");
        }
    }
    let answer = ask(&cluster, 0, Some(&other), look, root.token(), &Value::Null).await?;
    ensure!(
        answer.code == 200,
        "a token of another method has no certificate: {answer:?}"
    );
    done(&root, "POST", "auth/cert/crls/ours", json!({ "crl": ours.revoke(7)? })).await?;
    renew("one that is revoked", Some(&web), &token, 403).await?;
    done(&root, "POST", "auth/cert/config", json!({ "disable_binding": true })).await?;
    renew("none, where that is allowed", None, &token, 200).await?;
    Ok(())
}

/// Where lists of revoked certificates are demanded, an authority without one, or with an old one, lets nobody in. Abuse cases: 106.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_106_nobody_gets_in_while_the_list_is_missing() -> Result<()> {
    let (ours, theirs) = (Clients::make("ours")?, Clients::make("theirs")?);
    let cluster = Cluster::start(1)?;
    let root = Http::root(&cluster)?;
    done(&root, "POST", "sys/auth/cert", json!({ "type": "cert" })).await?;
    done(&root, "POST", "auth/cert/certs/web", json!({ "certificate": ours.pem })).await?;
    let web = ours.issue("web", |params| params.serial_number = Some(SerialNumber::from(7_u64)))?;
    let enters = async |what: &str, code: u16| -> Result<()> {
        let answer = login(&cluster, 0, Some(&web), &json!({})).await?;
        ensure!(answer.code == code, "{what}: {answer:?}");
        Ok(())
    };
    let list = async |pem: String| -> Result<u16> {
        Ok(root
            .ask("POST", "auth/cert/crls/ours", &json!({ "crl": pem }))
            .await?
            .code)
    };
    enters("nothing is demanded", 200).await?;
    done(&root, "POST", "auth/cert/config", json!({ "require_crl": true })).await?;
    enters("there is no list", 400).await?;
    ensure!(list(theirs.revoke(9)?).await? == 204, "any authority's list is taken");
    enters("there is somebody else's", 400).await?;
    ensure!(list(ours.list(9, 2_021)?).await? == 204, "an old list is taken");
    enters("it is out of date", 400).await?;
    ensure!(list(ours.revoke(9)?).await? == 204, "a list is taken");
    enters("it is not on it", 200).await?;
    // What is too long changes nothing.
    let long = format!("{}{}", ours.revoke(7)?, "\n".repeat(300 << 10));
    ensure!(list(long).await? == 400, "a list has a bound");
    enters("the list before stands", 200).await?;
    ensure!(list(ours.revoke(7)?).await? == 204, "a list is taken");
    enters("it is revoked", 400).await?;
    let answer = root
        .ask("POST", "auth/cert/crls/config", &json!({ "crl": ours.revoke(7)? }))
        .await?;
    ensure!(answer.code == 400, "{answer:?}");
    let told = root.ask("GET", "auth/cert/config", &Value::Null).await?.json();
    ensure!(
        told["data"]["require_crl"] == true && told["data"]["disable_binding"] == false,
        "{told}"
    );
    let recorded = records(&cluster.client()?).await?;
    let rules = recorded
        .iter()
        .filter(|r| r.text("operation") == "cert.login" && !r.is_allowed());
    let rules: Vec<&str> = rules.map(|r| r.text("rule")).collect();
    ensure!(rules == ["no list", "no list", "old list", "revoked"], "{rules:?}");
    Ok(())
}

/// A listener for which authorities are configured takes their certificates alone; the one of this test has none, and shows what it would be asked.
#[tokio::test(flavor = "multi_thread")]
async fn servers_ask_for_a_certificate_and_need_none() -> Result<()> {
    let authority = Authority::make()?;
    let cluster = Cluster::start(1)?;
    let root = Http::root(&cluster)?;
    done(&root, "GET", "auth/token/lookup-self", Value::Null).await?;
    // One that nobody knows opens nothing, and closes nothing either.
    let pair = authority.issue()?;
    let held = Held {
        chain: pair.certificate,
        key: pair.key,
    };
    let answer = login(&cluster, 0, Some(&held), &json!({})).await?;
    ensure!(answer.code == 403 || answer.code == 404, "{answer:?}");
    Ok(())
}
