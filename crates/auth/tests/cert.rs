//! Renewals by a certificate: what was verified before the plan, and what stands when it is made.

#[path = "../../barrier/tests/common/mod.rs"]
mod common;

use aumbry_auth::LoginError;
use aumbry_auth::cert::{self, LoginRequest, Request, Verified};
use aumbry_auth::token::Alias;
use aumbry_logical::{Body, Verb};
use aumbry_types::ObjectId;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use serde_json::{Value, json};

use self::common::Bed;

/// A mount with an entry, and somebody who logged in by it.
struct Scene {
    bed: Bed,
    chain: Vec<Vec<u8>>,
    login: Alias,
}

impl Scene {
    fn new() -> Self {
        let mut bed = Bed::new(51);
        let (pem, chain) = certificates();
        write(&mut bed, "certs/web", &json!({ "certificate": pem }));
        let request = LoginRequest::parse(&body(&json!({})), &chain).expect("is one");
        let challenge = bed.plan(|txn| cert::prepare(txn, MOUNT, &request)).0.expect("opens");
        let verified = challenge.verify(&chain);
        let login = bed.plan(|txn| cert::login(txn, MOUNT, &verified, HERE)).0;
        let login = login.expect("gets in");
        let login = Alias {
            mount: MOUNT,
            name: login.alias,
            metadata: login.metadata,
            groups: Vec::new(),
        };
        Self { bed, chain, login }
    }

    fn verify(&self) -> Option<Verified> {
        let prepared = self
            .bed
            .plan(|txn| cert::prepare_renewal(txn, &self.login, &self.chain))
            .0;
        prepared.expect("opens").map(|challenge| challenge.verify(&self.chain))
    }

    fn check(&self, verified: Option<&Verified>) -> Result<(), LoginError> {
        self.bed
            .plan(|txn| cert::check_renewal(txn, &self.login, &self.chain, verified, HERE))
            .0
    }
}

fn body(value: &Value) -> Body {
    Body::parse(value.to_string().as_bytes()).expect("is a body")
}

fn write(bed: &mut Bed, path: &str, value: &Value) {
    let request = Request::parse(Verb::Write, path, body(value)).expect("is a request");
    assert!(
        bed.run(|txn| cert::plan(txn, MOUNT, &request)).is_ok(),
        "{path} {value}"
    );
}

/// An authority in PEM, and a chain of one certificate of it.
fn certificates() -> (String, Vec<Vec<u8>>) {
    let key = KeyPair::generate().expect("can be made");
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.distinguished_name.push(DnType::CommonName, "ours");
    let pem = params.self_signed(&key).expect("can be signed").pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().expect("can be made");
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "web");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let signed = params.signed_by(&key, &issuer).expect("can be signed");
    (pem, vec![signed.der().to_vec()])
}

/// The plan verifies no chain: it rests on what was verified before, and begins again if that is not what stands. Abuse cases: 105.
#[test]
fn a_renewal_rests_on_what_was_verified_before_it() {
    let mut scene = Scene::new();
    let verified = scene.verify();
    assert_eq!(scene.check(verified.as_ref()), Ok(()));
    assert_eq!(scene.check(None), Err(LoginError::Stale), "it was not verified");
    write(&mut scene.bed, "certs/web", &json!({ "token_ttl": 60 }));
    assert_eq!(
        scene.check(verified.as_ref()),
        Err(LoginError::Stale),
        "the entry is another"
    );
    assert_eq!(scene.check(scene.verify().as_ref()), Ok(()));
    let verified = scene.verify();
    write(&mut scene.bed, "certs/web", &json!({ "allowed_common_names": "db" }));
    assert_eq!(scene.check(verified.as_ref()), Err(LoginError::Stale));
    assert!(matches!(
        scene.check(scene.verify().as_ref()),
        Err(LoginError::Because(_))
    ));
    // Another certificate of the same name is not verified at all.
    let (_, other) = certificates();
    let own = std::mem::replace(&mut scene.chain, other);
    assert!(scene.verify().is_none());
    assert_eq!(scene.check(None), Err(LoginError::Because("another certificate")));
    scene.chain = own;
    // Where none is needed none is verified; and where one is needed again, it begins anew.
    write(&mut scene.bed, "config", &json!({ "disable_binding": true }));
    assert!(scene.verify().is_none());
    assert_eq!(scene.check(None), Ok(()));
    write(&mut scene.bed, "config", &json!({ "disable_binding": false }));
    assert_eq!(scene.check(None), Err(LoginError::Stale));
}

const MOUNT: ObjectId = ObjectId::from_bytes([0x79; 16]);
const HERE: &str = "10.0.0.1:1";
