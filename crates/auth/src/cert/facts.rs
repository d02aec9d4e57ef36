//! What a certificate says.

use aumbry_types::hex;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};

use crate::jwt::Reason;

/// What a certificate says. It is true once the certificate was verified.
pub(super) struct Facts {
    pub(super) common_name: String,
    pub(super) organizational_units: Vec<String>,
    pub(super) dns_names: Vec<String>,
    pub(super) emails: Vec<String>,
    pub(super) uris: Vec<String>,
    /// Object identifiers with values: texts as they are, others as `hex:` and their digits.
    pub(super) extensions: Vec<(String, String)>,
    pub(super) serial: String,
    pub(super) subject_key_id: String,
    pub(super) authority_key_id: String,
    /// In seconds since 1970.
    pub(super) not_before: i64,
    pub(super) not_after: i64,
}

impl Facts {
    pub(super) fn read(der: &[u8]) -> Result<Self, Reason> {
        let malformed = |_| Reason("malformed");
        let (_, certificate) = x509_parser::parse_x509_certificate(der).map_err(malformed)?;
        let texts = |values: Vec<Result<&str, _>>| values.into_iter().flatten().map(str::to_owned).collect::<Vec<_>>();
        let subject = certificate.subject();
        let mut facts = Self {
            common_name: texts(subject.iter_common_name().map(|name| name.as_str()).collect())
                .into_iter()
                .next()
                .unwrap_or_default(),
            organizational_units: texts(subject.iter_organizational_unit().map(|unit| unit.as_str()).collect()),
            dns_names: Vec::new(),
            emails: Vec::new(),
            uris: Vec::new(),
            extensions: Vec::new(),
            serial: certificate.tbs_certificate.raw_serial_as_string(),
            subject_key_id: String::new(),
            authority_key_id: String::new(),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
        };
        facts.read_extensions(&certificate);
        Ok(facts)
    }

    fn read_extensions(&mut self, certificate: &X509Certificate<'_>) {
        for extension in certificate.extensions() {
            let value = text_of(extension.value).unwrap_or_else(|| format!("hex:{}", hex::encode(extension.value)));
            self.extensions.push((extension.oid.to_id_string(), value));
            match extension.parsed_extension() {
                ParsedExtension::SubjectAlternativeName(names) => {
                    for name in &names.general_names {
                        match name {
                            GeneralName::DNSName(name) => self.dns_names.push((*name).to_owned()),
                            GeneralName::RFC822Name(name) => self.emails.push((*name).to_owned()),
                            GeneralName::URI(uri) => self.uris.push((*uri).to_owned()),
                            _ => {}
                        }
                    }
                }
                ParsedExtension::SubjectKeyIdentifier(id) => self.subject_key_id = hex::encode(id.0),
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    self.authority_key_id = id
                        .key_identifier
                        .as_ref()
                        .map(|id| hex::encode(id.0))
                        .unwrap_or_default();
                }
                _ => {}
            }
        }
    }
}

/// The text of a value that is one: UTF-8, printable or IA5, of less than 128 bytes.
fn text_of(value: &[u8]) -> Option<String> {
    match value {
        [0x0c | 0x13 | 0x16, length, text @ ..] if usize::from(*length) == text.len() && *length < 128 => {
            String::from_utf8(text.to_vec()).ok()
        }
        _ => None,
    }
}
