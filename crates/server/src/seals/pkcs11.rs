//! A PKCS#11 token: its AES key wraps the key of a seal with AES-GCM, and never leaves it.
//!
//! ```text
//! wrapped = IV 12 | ciphertext and tag of 16, as C_Encrypt gives them; the context of the seal is the additional data
//! ```
//!
//! What it guarantees: a PIN that was refused is not tried again, as tokens lock themselves after some; it is read anew once its file was changed. A
//! token that says that the next wrong PIN locks it is not tried at all. A call that hangs holds up nothing but the calls after it, which say so.
//!
//! What it does not do: wrap with anything but AES-GCM. CBC with padding and without a MAC tells whoever alters a message what was in it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aumbry_types::SecretBytes;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use tokio::sync::Semaphore;

use crate::config::Pkcs11Seal;
use crate::key_file::{self, KeyFileError};

/// The token.
pub(super) struct Token {
    inner: Arc<Inner>,
    /// One call at a time: initialising and finalising are the process's.
    turn: Arc<Semaphore>,
}

struct Inner {
    seal: Pkcs11Seal,
    /// The module stays loaded once it was: modules are not made to be taken out of a process.
    module: Mutex<Option<Pkcs11>>,
    /// The file whose PIN was refused.
    refused: Mutex<Option<Stamp>>,
}

/// What changes when a file is written or replaced.
type Stamp = (u64, u64, i64, i64, u64);

/// Why the token did not help.
#[derive(Debug, thiserror::Error)]
pub enum Pkcs11Error {
    /// The PIN's file.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The module.
    #[error("cannot load the PKCS#11 module {path}: {text}; install it, or correct seal.pkcs11.module")]
    Module {
        /// The library.
        path: PathBuf,
        /// Why.
        text: String,
    },
    /// The token.
    #[error("the PKCS#11 module shows no token {0}; plug it in or reconnect it, or correct seal.pkcs11.token")]
    NoToken(String),
    /// The PIN.
    #[error(
        "the token refused the PIN in {0}, which is not tried again, as tokens lock themselves after some; write the right PIN into the file"
    )]
    Pin(PathBuf),
    /// The next wrong PIN locks the token.
    #[error(
        "the token says that one more wrong PIN locks it, so it is not tried; log in by hand once with the right PIN"
    )]
    LastTry,
    /// The PIN cannot be used any more.
    #[error("the token's PIN is locked, has expired or was never set; its security officer sets a new one")]
    Locked,
    /// The key.
    #[error(
        "the token has no AES key {0:?}; make it with `aumbry operator seals key --pkcs11 CONFIG`, or correct seal.pkcs11.key"
    )]
    NoKey(String),
    /// The key exists.
    #[error("the token has a key {0:?} already: nothing was done; name another in seal.pkcs11.key")]
    KeyExists(String),
    /// Several keys.
    #[error("the token has several AES keys {0:?}; rename all but one")]
    SeveralKeys(String),
    /// The key could be taken out of the token.
    #[error(
        "the key {0:?} can leave the token (extractable, or not sensitive); make one that cannot, with `aumbry operator seals key --pkcs11 CONFIG`"
    )]
    Extractable(String),
    /// The mechanism.
    #[error("the token or its key cannot do AES-GCM (CKM_AES_GCM); use another token")]
    NoGcm,
    /// The token gave no IV.
    #[error("the token did not make an IV; remove seal.pkcs11.token_makes_iv")]
    NoIv,
    /// It does not open this.
    #[error(
        "the token's key {name:?} does not open the seal: the seal was altered or is of another cluster, or the key was replaced; open the node with key shares, remove the seal and add it again"
    )]
    Refused {
        /// The key.
        name: String,
    },
    /// It hangs.
    #[error("the PKCS#11 module has not answered within {} s; see whether the token can be reached, and restart the node if this stays", TIMEOUT.as_secs())]
    Late,
    /// Something else.
    #[error("the token failed: {0}; see whether it can be reached")]
    Device(String),
}

impl Token {
    pub(super) fn new(seal: Pkcs11Seal) -> Self {
        Self {
            inner: Arc::new(Inner {
                seal,
                module: Mutex::new(None),
                refused: Mutex::new(None),
            }),
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// The label of the key.
    pub(super) fn name(&self) -> String {
        self.inner.seal.key.clone()
    }

    pub(super) fn place(&self) -> String {
        format!("token {}, key {:?}", self.inner.token(), self.inner.seal.key)
    }

    /// Looks at the files, and asks the token nothing: a check may be run often.
    pub(super) fn check_files(&self) -> Result<(), Pkcs11Error> {
        let seal = &self.inner.seal;
        key_file::read_secret(&seal.pin_file, "PIN file")?;
        fs::metadata(&seal.module)
            .map(drop)
            .map_err(|error| self.inner.unloadable(&error))
    }

    /// Wraps.
    pub(super) async fn encrypt(
        &self,
        plain: SecretBytes,
        context: Vec<u8>,
        iv: [u8; 12],
    ) -> Result<Vec<u8>, Pkcs11Error> {
        self.run(move |inner| inner.encrypt(&plain, &context, iv)).await
    }

    /// Unwraps.
    pub(super) async fn decrypt(&self, wrapped: Vec<u8>, context: Vec<u8>) -> Result<SecretBytes, Pkcs11Error> {
        self.run(move |inner| inner.decrypt(&wrapped, &context)).await
    }

    /// Makes the key.
    pub(super) async fn make_key(&self, id: [u8; 16]) -> Result<(), Pkcs11Error> {
        self.run(move |inner| inner.make_key(id)).await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, Pkcs11Error> + Send + 'static,
    ) -> Result<T, Pkcs11Error> {
        let turn = tokio::time::timeout(TIMEOUT, Arc::clone(&self.turn).acquire_owned()).await;
        let turn = turn.ok().and_then(Result::ok).ok_or(Pkcs11Error::Late)?;
        let inner = Arc::clone(&self.inner);
        let working = tokio::task::spawn_blocking(move || {
            // Given back when the module has come back, however long that takes.
            let _turn = turn;
            work(&inner)
        });
        match tokio::time::timeout(TIMEOUT, working).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Pkcs11Error::Device("the call was broken off".to_owned())),
            Err(_) => Err(Pkcs11Error::Late),
        }
    }
}

impl Inner {
    fn encrypt(&self, plain: &SecretBytes, context: &[u8], mut iv: [u8; 12]) -> Result<Vec<u8>, Pkcs11Error> {
        if self.seal.token_makes_iv {
            iv = [0; 12];
        }
        let wrapped = self.with_key(|session, key| {
            self.refuse_extractable(session, key)?;
            let mechanism = Mechanism::AesGcm(GcmParams::new(&mut iv, context, TAG_BITS.into()).map_err(device)?);
            session.encrypt(&mechanism, key, plain.expose()).map_err(mechanical)
        })?;
        // A token that makes its own IV has written it into the buffer.
        if iv == [0; 12] {
            return Err(Pkcs11Error::NoIv);
        }
        Ok([&iv[..], &wrapped].concat())
    }

    fn decrypt(&self, wrapped: &[u8], context: &[u8]) -> Result<SecretBytes, Pkcs11Error> {
        let refused = || Pkcs11Error::Refused {
            name: self.seal.key.clone(),
        };
        let (iv, sealed) = wrapped.split_first_chunk::<12>().ok_or_else(refused)?;
        let mut iv = *iv;
        self.with_key(|session, key| {
            let mechanism = Mechanism::AesGcm(GcmParams::new(&mut iv, context, TAG_BITS.into()).map_err(device)?);
            match session.decrypt(&mechanism, key, sealed) {
                Ok(opened) => Ok(SecretBytes::new(opened)),
                Err(Error::Pkcs11(told, _)) if is_gone(told) => {
                    Err(device(Error::Pkcs11(told, cryptoki::context::Function::Decrypt)))
                }
                // Tokens tell a wrong tag in many ways: as invalid data, as a wrong length, as a general failure.
                Err(Error::Pkcs11(told, _)) if !is_mechanism(told) => Err(refused()),
                Err(error) => Err(mechanical(error)),
            }
        })
    }

    fn make_key(&self, id: [u8; 16]) -> Result<(), Pkcs11Error> {
        let label = self.seal.key.as_bytes().to_vec();
        self.with_session(true, |session| {
            let same = [
                Attribute::Class(ObjectClass::SECRET_KEY),
                Attribute::Label(label.clone()),
            ];
            if !session.find_objects(&same).map_err(device)?.is_empty() {
                return Err(Pkcs11Error::KeyExists(self.seal.key.clone()));
            }
            let template = [
                Attribute::Token(true),
                Attribute::Private(true),
                Attribute::Sensitive(true),
                Attribute::Extractable(false),
                Attribute::Encrypt(true),
                Attribute::Decrypt(true),
                Attribute::Wrap(false),
                Attribute::Unwrap(false),
                Attribute::Label(label),
                Attribute::Id(id.to_vec()),
                Attribute::ValueLen(32.into()),
            ];
            let key = session
                .generate_key(&Mechanism::AesKeyGen, &template)
                .map_err(mechanical)?;
            self.refuse_extractable(session, key)
        })
    }

    fn with_key<T>(
        &self,
        work: impl FnOnce(&Session, ObjectHandle) -> Result<T, Pkcs11Error>,
    ) -> Result<T, Pkcs11Error> {
        self.with_session(false, |session| {
            let name = &self.seal.key;
            let found = session.find_objects(&[
                Attribute::Class(ObjectClass::SECRET_KEY),
                Attribute::KeyType(KeyType::AES),
                Attribute::Label(name.as_bytes().to_vec()),
            ]);
            match found.map_err(device)?[..] {
                [] => Err(Pkcs11Error::NoKey(name.clone())),
                [key] => work(session, key),
                _ => Err(Pkcs11Error::SeveralKeys(name.clone())),
            }
        })
    }

    /// Logs in, and out again. The module is initialised for each use, so that it sees tokens that come and go.
    fn with_session<T>(
        &self,
        writes: bool,
        work: impl FnOnce(&Session) -> Result<T, Pkcs11Error>,
    ) -> Result<T, Pkcs11Error> {
        let stamp = stamp(&self.seal.pin_file);
        if stamp.is_some() && *self.refused.lock().unwrap_or_else(PoisonError::into_inner) == stamp {
            return Err(Pkcs11Error::Pin(self.seal.pin_file.clone()));
        }
        let pin = key_file::read_secret(&self.seal.pin_file, "PIN file")?;
        let pin = pin.expose_str().map(|pin| AuthPin::new(pin.into()));
        let pin = pin.ok_or_else(|| Pkcs11Error::Pin(self.seal.pin_file.clone()))?;
        let module = self.load()?;
        module
            .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
            .map_err(device)?;
        let result = self.logged_in(&module, writes, &pin, stamp, work);
        // It is initialised anew next time, whatever became of it.
        let _ = module.finalize();
        result
    }

    fn logged_in<T>(
        &self,
        module: &Pkcs11,
        writes: bool,
        pin: &AuthPin,
        stamp: Option<Stamp>,
        work: impl FnOnce(&Session) -> Result<T, Pkcs11Error>,
    ) -> Result<T, Pkcs11Error> {
        let slot = self.slot(module)?;
        let info = module.get_token_info(slot).map_err(device)?;
        if info.user_pin_locked() {
            return Err(Pkcs11Error::Locked);
        }
        if info.user_pin_final_try() {
            return Err(Pkcs11Error::LastTry);
        }
        let session = match writes {
            true => module.open_rw_session(slot),
            false => module.open_ro_session(slot),
        };
        let session = session.map_err(device)?;
        match session.login(UserType::User, Some(pin)) {
            Ok(()) => {}
            Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinLenRange | RvError::PinInvalid, _)) => {
                *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = stamp;
                return Err(Pkcs11Error::Pin(self.seal.pin_file.clone()));
            }
            Err(Error::Pkcs11(RvError::PinLocked | RvError::PinExpired | RvError::UserPinNotInitialized, _)) => {
                return Err(Pkcs11Error::Locked);
            }
            Err(error) => return Err(device(error)),
        }
        let result = work(&session);
        // Closing the session logs out as well.
        let _ = session.logout();
        result
    }

    fn load(&self) -> Result<Pkcs11, Pkcs11Error> {
        let mut module = self.module.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = &*module {
            return Ok(module.clone());
        }
        let loaded = Pkcs11::new(&self.seal.module).map_err(|error| self.unloadable(&error))?;
        Ok(module.insert(loaded).clone())
    }

    fn unloadable(&self, error: &dyn core::fmt::Display) -> Pkcs11Error {
        Pkcs11Error::Module {
            path: self.seal.module.clone(),
            text: error.to_string(),
        }
    }

    fn slot(&self, module: &Pkcs11) -> Result<Slot, Pkcs11Error> {
        let slots = module.get_slots_with_token().map_err(device)?;
        let found = slots.into_iter().find(|slot| match (&self.seal.token, self.seal.slot) {
            (Some(label), _) => module
                .get_token_info(*slot)
                .is_ok_and(|info| info.token_initialized() && info.label() == label),
            (None, number) => Some(slot.id()) == number,
        });
        found.ok_or_else(|| Pkcs11Error::NoToken(self.token()))
    }

    fn token(&self) -> String {
        match (&self.seal.token, self.seal.slot) {
            (Some(label), _) => format!("{label:?}"),
            (None, number) => format!("in slot {}", number.unwrap_or_default()),
        }
    }

    fn refuse_extractable(&self, session: &Session, key: ObjectHandle) -> Result<(), Pkcs11Error> {
        let asked = [AttributeType::Sensitive, AttributeType::Extractable];
        let told = session.get_attributes(key, &asked).map_err(device)?;
        if told.contains(&Attribute::Sensitive(true)) && told.contains(&Attribute::Extractable(false)) {
            return Ok(());
        }
        Err(Pkcs11Error::Extractable(self.seal.key.clone()))
    }
}

/// The device is not there any more.
const fn is_gone(told: RvError) -> bool {
    matches!(
        told,
        RvError::DeviceRemoved
            | RvError::DeviceError
            | RvError::TokenNotPresent
            | RvError::SessionHandleInvalid
            | RvError::SessionClosed
    )
}

const fn is_mechanism(told: RvError) -> bool {
    matches!(
        told,
        RvError::MechanismInvalid | RvError::MechanismParamInvalid | RvError::KeyFunctionNotPermitted
    )
}

fn mechanical(error: Error) -> Pkcs11Error {
    match error {
        Error::Pkcs11(told, _) if is_mechanism(told) => Pkcs11Error::NoGcm,
        error => device(error),
    }
}

/// The name of what the token answered; its explanation is for programmers.
fn device(error: Error) -> Pkcs11Error {
    Pkcs11Error::Device(match error {
        Error::Pkcs11(told, function) => format!("{function:?}: {told:?}"),
        error => error.to_string(),
    })
}

fn stamp(path: &std::path::Path) -> Option<Stamp> {
    let told = fs::metadata(path).ok()?;
    Some((told.dev(), told.ino(), told.mtime(), told.mtime_nsec(), told.size()))
}

/// The longest tag that there is.
const TAG_BITS: u64 = 128;
/// A token on a card takes a second, one in another data centre less; more is a fault.
const TIMEOUT: Duration = Duration::from_secs(15);
