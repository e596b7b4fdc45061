//! The signed part of a certificate (RFC 5280, 4.1) and of a request (RFC 2986, 4.1).

use certwright_cert_model::usage::{ExtendedKeyUsage, KeyUsages};

use super::Writer;
use super::extension::{self, extension as write_extension, id};
use crate::decode::{BIT_STRING, OID, SEQUENCE, SET, context};
use crate::validity::Validity;

/// What a certificate says. Everything constant per issuer is DER already.
pub(crate) struct Certificate<'a> {
    /// 1 to 20 octets, positive.
    pub(crate) serial: &'a [u8],
    /// The signature's AlgorithmIdentifier.
    pub(crate) algorithm: &'a [u8],
    pub(crate) issuer: &'a [u8],
    pub(crate) validity: Validity,
    pub(crate) subject: &'a [u8],
    pub(crate) spki: &'a [u8],
    /// The whole authorityKeyIdentifier extension.
    pub(crate) authority_key_id: &'a [u8],
    pub(crate) subject_key_id: &'a [u8; 20],
    pub(crate) subject_alt_name: Option<&'a [u8]>,
    pub(crate) key_usage: KeyUsages,
    pub(crate) extended_key_usage: &'a [ExtendedKeyUsage],
    pub(crate) ca: bool,
    pub(crate) max_path_len: Option<u8>,
    /// Whether the extension is critical, and its value.
    pub(crate) name_constraints: Option<(bool, &'a [u8])>,
    pub(crate) crl_distribution_points: &'a [String],
    pub(crate) ocsp_servers: &'a [String],
    pub(crate) issuing_certificate_urls: &'a [String],
    /// Whole extensions copied from the request.
    pub(crate) others: &'a [&'a [u8]],
}

impl Certificate<'_> {
    /// The DER of the TBSCertificate.
    pub(crate) fn to_der(&self) -> Vec<u8> {
        let names = self.subject_alt_name.map_or(0, <[u8]>::len);
        let fixed = self.issuer.len() + self.subject.len() + self.spki.len() + names;
        let mut writer = Writer::with_capacity(fixed + 384);
        writer.nest(SEQUENCE, |w| {
            w.nest(context(3), |w| {
                w.nest(SEQUENCE, |w| self.write_extensions(w));
            });
            w.bytes(self.spki);
            w.bytes(self.subject);
            self.validity.write(w);
            w.bytes(self.issuer);
            w.bytes(self.algorithm);
            w.unsigned(self.serial);
            w.nest(context(0), |w| extension::version(w, 2));
        });
        writer.into_vec()
    }

    /// The order is rcgen's, so that both agree byte for byte where both can say a thing.
    fn write_extensions(&self, w: &mut Writer) {
        for other in self.others.iter().rev() {
            w.bytes(other);
        }
        if !self.ocsp_servers.is_empty() || !self.issuing_certificate_urls.is_empty() {
            write_extension(w, id::AUTHORITY_INFO_ACCESS, false, |w| {
                extension::authority_info_access(
                    w,
                    self.ocsp_servers,
                    self.issuing_certificate_urls,
                );
            });
        }
        if self.ca {
            write_extension(w, id::BASIC_CONSTRAINTS, true, |w| {
                extension::basic_constraints(w, true, self.max_path_len);
            });
        } else {
            w.bytes(NO_CA);
        }
        w.bytes(self.subject_key_id);
        w.bytes(SUBJECT_KEY_ID);
        if !self.crl_distribution_points.is_empty() {
            write_extension(w, id::CRL_DISTRIBUTION_POINTS, false, |w| {
                extension::crl_distribution_points(w, self.crl_distribution_points);
            });
        }
        if let Some((critical, value)) = self.name_constraints {
            write_extension(w, id::NAME_CONSTRAINTS, critical, |w| w.bytes(value));
        }
        write_usages(w, self.key_usage, self.extended_key_usage);
        if let Some(names) = self.subject_alt_name {
            // Critical if and only if the subject is empty (RFC 5280, 4.2.1.6).
            write_extension(w, id::SUBJECT_ALT_NAME, self.subject == EMPTY_NAME, |w| {
                w.bytes(names);
            });
        }
        w.bytes(self.authority_key_id);
    }
}

/// basicConstraints of everything that is no CA.
const NO_CA: &[u8] = &[0x30, 12, 6, 3, 0x55, 0x1d, 19, 1, 1, 0xff, 4, 2, 0x30, 0];

/// subjectKeyIdentifier before its 20 octets.
const SUBJECT_KEY_ID: &[u8] = &[0x30, 29, 6, 3, 0x55, 0x1d, 14, 4, 22, 4, 20];

/// A Name without RDNs.
pub(crate) const EMPTY_NAME: &[u8] = &[SEQUENCE, 0];

fn write_usages(w: &mut Writer, key_usage: KeyUsages, extended: &[ExtendedKeyUsage]) {
    if !extended.is_empty() {
        write_extension(w, id::EXTENDED_KEY_USAGE, false, |w| {
            extension::extended_key_usage(w, extended);
        });
    }
    if !key_usage.is_empty() {
        write_extension(w, id::KEY_USAGE, true, |w| {
            extension::key_usage(w, key_usage);
        });
    }
}

/// What a request says.
pub(crate) struct Request<'a> {
    pub(crate) subject: &'a [u8],
    pub(crate) spki: &'a [u8],
    pub(crate) subject_alt_name: Option<&'a [u8]>,
    pub(crate) key_usage: KeyUsages,
    pub(crate) extended_key_usage: &'a [ExtendedKeyUsage],
    /// basicConstraints, if it is to be written at all.
    pub(crate) ca: Option<bool>,
    pub(crate) name_constraints: Option<(bool, &'a [u8])>,
}

/// 1.2.840.113549.1.9.14, the attribute that holds a request's extensions (RFC 2985, 5.4.2).
pub(crate) const EXTENSION_REQUEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 14];

impl Request<'_> {
    /// The DER of the CertificationRequestInfo; extensions in cert-manager's order.
    pub(crate) fn to_der(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(self.subject.len() + self.spki.len() + 256);
        writer.nest(SEQUENCE, |w| {
            w.nest(context(0), |w| {
                let mut extensions = Writer::with_capacity(256);
                self.write_extensions(&mut extensions);
                if extensions.len() > 0 {
                    w.nest(SEQUENCE, |w| {
                        w.nest(SET, |w| w.element(SEQUENCE, extensions.written()));
                        w.element(OID, EXTENSION_REQUEST);
                    });
                }
            });
            w.bytes(self.spki);
            w.bytes(self.subject);
            extension::version(w, 0);
        });
        writer.into_vec()
    }

    fn write_extensions(&self, w: &mut Writer) {
        if let Some((critical, value)) = self.name_constraints {
            write_extension(w, id::NAME_CONSTRAINTS, critical, |w| w.bytes(value));
        }
        if let Some(ca) = self.ca {
            write_extension(w, id::BASIC_CONSTRAINTS, true, |w| {
                extension::basic_constraints(w, ca, None);
            });
        }
        write_usages(w, self.key_usage, self.extended_key_usage);
        if let Some(names) = self.subject_alt_name {
            write_extension(w, id::SUBJECT_ALT_NAME, self.subject == EMPTY_NAME, |w| {
                w.bytes(names);
            });
        }
    }
}

/// The signed whole: what was signed, the algorithm, the signature (RFC 5280, 4.1.1).
pub(crate) fn signed(tbs: &[u8], algorithm: &[u8], signature: &[u8]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(tbs.len() + algorithm.len() + signature.len() + 24);
    writer.nest(SEQUENCE, |w| {
        w.nest(BIT_STRING, |w| {
            w.bytes(signature);
            w.bytes(&[0]);
        });
        w.element(SEQUENCE, algorithm);
        w.bytes(tbs);
    });
    writer.into_vec()
}
