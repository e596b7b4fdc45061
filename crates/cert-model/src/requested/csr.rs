use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;

use super::Requested;
use crate::inspect::{FactsError, NameTexts, der};
use crate::request::CertificateRequest;

impl Requested {
    /// What a CertificateRequest asks for; needs the feature `x509`. Nothing is verified.
    ///
    /// # Errors
    ///
    /// [`FactsError`] if its CSR cannot be read.
    pub fn read(request: &CertificateRequest) -> Result<Self, FactsError> {
        let blocks = crate::pem::read(&request.csr).map_err(der::malformed)?;
        let block = blocks
            .first()
            .ok_or_else(|| der::malformed("no PEM block"))?;
        let (rest, csr) =
            X509CertificationRequest::from_der(block.der()).map_err(der::malformed)?;
        if !rest.is_empty() {
            return Err(FactsError::Trailing { count: rest.len() });
        }
        let mut names = NameTexts::default();
        for extension in csr.requested_extensions().into_iter().flatten() {
            if let ParsedExtension::SubjectAlternativeName(found) = extension {
                names = der::name_texts(&found.general_names)?;
            }
        }
        let info = &csr.certification_request_info;
        Ok(Self {
            issuer_ref: request.issuer_ref.clone(),
            subject: der::subject(&info.subject)?,
            names,
            public_key: info.subject_pki.raw.to_vec(),
            is_ca: request.is_ca,
            usages: request.usages.clone(),
            duration: (!request.duration_is_default).then_some(request.duration),
        })
    }
}
