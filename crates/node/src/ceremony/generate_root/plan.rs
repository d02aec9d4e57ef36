//! Plans requests about root tokens that are made with shares.

use aumbry_auth::token::generate_root;
use aumbry_auth::{Answer, Caller, timestamp};
use aumbry_barrier::Txn;
use aumbry_crypto::seal::SealConfig;
use aumbry_crypto::token;
use aumbry_types::{Entropy, SecretBytes, SecretKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::super::given::{Given, check_root, make_nonce, read_config, refused, told};
use super::super::session::{Session as _, cancel};
use super::request::{Custodian, Request, Step};
use super::session::Session;
use crate::Failure;

/// What became of a share.
pub(crate) struct Proved {
    /// What is told.
    pub(crate) answer: Answer,
    /// The accessor of the token that was made, if one was.
    pub(crate) accessor: Option<String>,
}

/// Plans what takes a token.
///
/// # Errors
/// [`Failure`]; nothing was written until then.
pub(crate) fn plan(txn: &mut Txn<'_>, caller: &Caller, request: &Request) -> Result<Answer, Failure> {
    let config = read_config(txn)?;
    let session = Session::read(txn, &config)?;
    match request {
        Request::Status => Ok(told(status(txn, &config, session.as_ref()))),
        Request::Start(pad) => {
            let session = begin(
                txn,
                &config,
                session.as_ref(),
                pad.as_ref(),
                caller.accessor.to_string(),
            )?;
            session.write(txn);
            Ok(told(begun(txn, &config, &session)))
        }
        Request::Cancel(nonce) => cancel(txn, session.as_ref(), nonce),
    }
}

/// Plans what takes a share. It is looked at first: whoever shows none learns nothing.
///
/// # Errors
/// [`Failure`]; what was written to the transaction until then must be abandoned.
pub(crate) fn prove(txn: &mut Txn<'_>, custodian: &Custodian) -> Result<Proved, Failure> {
    let config = read_config(txn)?;
    let mut alone = Given::default();
    let opened = alone.take(&config, &custodian.share)?;
    let session = Session::read(txn, &config)?;
    match &custodian.step {
        Step::Start(pad) => {
            let mut session = begin(txn, &config, session.as_ref(), pad.as_ref(), String::new())?;
            session.given = alone;
            if let Some(root) = opened {
                return end(txn, &config, &session, &root);
            }
            session.write(txn);
            Ok(Proved::with(begun(txn, &config, &session)))
        }
        Step::Update(nonce) => {
            let mut session = session.ok_or_else(none_under_way)?;
            session.check(nonce)?;
            match session.given.take(&config, &custodian.share)? {
                Some(root) => end(txn, &config, &session, &root),
                None => {
                    session.write(txn);
                    Ok(Proved::with(status(txn, &config, Some(&session))))
                }
            }
        }
        Step::Cancel(nonce) => Ok(Proved {
            answer: cancel(txn, session.as_ref(), nonce)?,
            accessor: None,
        }),
    }
}

fn begin(
    txn: &Txn<'_>,
    config: &SealConfig,
    before: Option<&Session>,
    pad: Option<&SecretBytes>,
    began_by: String,
) -> Result<Session, Failure> {
    if before.is_some() {
        return Err(refused(
            "ROOT_ATTEMPT_IN_PROGRESS",
            "a root token is being made already; show shares to sys/generate-root/update, or end it with DELETE sys/generate-root/attempt",
        ));
    }
    let length = token_bytes(txn);
    let pad = match pad {
        None => make_pad(length, txn.entropy()),
        Some(pad) if pad.len() == length && pad.expose().is_ascii() => pad.duplicate(),
        Some(_) => {
            let text =
                format!("otp: leave it out, and one is made; else it has {length} ASCII characters, `otp_length`");
            return Err(refused("INVALID_OTP", &text));
        }
    };
    Ok(Session {
        nonce: make_nonce(txn.entropy()),
        began_by,
        began_ms: txn.now().0,
        epoch: config.epoch,
        pad,
        given: Given::default(),
    })
}

/// The entry that makes the token and ends the attempt.
fn end(txn: &mut Txn<'_>, config: &SealConfig, session: &Session, root: &SecretKey) -> Result<Proved, Failure> {
    check_root(txn, root)?;
    let made = generate_root(txn)?;
    let text = made.token.expose();
    if text.len() != session.pad.len() {
        // The term in it has a digit more than when the pad was made.
        return Err(refused(
            "ROOT_ATTEMPT_OUTDATED",
            "the keys were turned since the attempt began; end it with DELETE sys/generate-root/attempt, and begin again",
        ));
    }
    let hidden = text.iter().zip(session.pad.expose()).map(|(a, b)| a ^ b);
    let hidden = STANDARD_NO_PAD.encode(Zeroizing::new(hidden.collect::<Vec<_>>()));
    Session::remove(txn);
    let mut told = status(txn, config, Some(session));
    told["progress"] = json!(config.threshold);
    told["complete"] = json!(true);
    told["encoded_token"] = json!(hidden);
    told["encoded_root_token"] = json!(hidden);
    if session.given.count() == 0 && config.threshold == 1 {
        // The one share began it as well.
        told["otp"] = json!(session.pad.expose_str());
    }
    Ok(Proved {
        accessor: Some(made.info.accessor),
        ..Proved::with(told)
    })
}

impl Proved {
    fn with(value: Value) -> Self {
        Self {
            answer: told(value),
            accessor: None,
        }
    }
}

/// What whoever began is told, and nobody else: the pad.
fn begun(txn: &Txn<'_>, config: &SealConfig, session: &Session) -> Value {
    let mut told = status(txn, config, Some(session));
    told["otp"] = json!(session.pad.expose_str());
    told
}

fn status(txn: &Txn<'_>, config: &SealConfig, session: Option<&Session>) -> Value {
    let mut told = json!({
        "started": session.is_some(),
        "nonce": session.map_or("", |session| session.nonce.as_str()),
        "progress": session.map_or(0, |session| session.given.count()),
        "required": config.threshold,
        "complete": false,
        "encoded_token": "",
        "encoded_root_token": "",
        "pgp_fingerprint": "",
        "otp": "",
        "otp_length": token_bytes(txn),
    });
    if let Some(session) = session {
        told["started_by"] = json!(match session.began_by.as_str() {
            "" => "a key share",
            accessor => accessor,
        });
        told["started_at"] = json!(timestamp(session.began_ms));
    }
    told
}

/// How long a token is that is made now.
fn token_bytes(txn: &Txn<'_>) -> usize {
    token::text_bytes(txn.barrier().keyring().term())
}

/// Letters and digits, each as likely as any other.
fn make_pad(length: usize, entropy: &dyn Entropy) -> SecretBytes {
    let mut pad = Vec::with_capacity(length);
    while pad.len() < length {
        let mut bytes = Zeroizing::new([0; 64]);
        entropy.fill(&mut *bytes);
        // 248 is the most of a byte that 62 divides.
        let even = bytes.iter().filter(|byte| **byte < 248);
        let symbols = even.map(|byte| SYMBOLS[usize::from(byte % 62)]);
        pad.extend(symbols.take(length - pad.len()));
    }
    SecretBytes::new(pad)
}

fn none_under_way() -> Failure {
    refused(
        "NO_ROOT_ATTEMPT",
        "no root token is being made, or the attempt ended an hour after it began; begin with sys/generate-root/attempt or \
         `aumbry operator generate-root`",
    )
}

const SYMBOLS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
