//! What the fuzzer needs of this engine's data. Not for any other use: it changes with it.

use aumbry_types::SecretBytes;

use super::DataError;
use super::data;

/// Checks the data of a version.
///
/// # Errors
/// [`DataError`]
pub fn check(document: &SecretBytes) -> Result<(), DataError> {
    data::check(document)
}

/// Merges a patch into a document that was checked.
///
/// # Errors
/// [`DataError`]
pub fn merge(document: &SecretBytes, patch: &SecretBytes) -> Result<SecretBytes, DataError> {
    data::merge(document, patch)
}
