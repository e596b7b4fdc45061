use super::{CnameRecords, Resolver};

impl Resolver {
    /// Applies the environment variables of lego that Traefik heeds; `get` returns a variable's value.
    ///
    /// | variable | for resolvers |
    /// |---|---|
    /// | `LEGO_DISABLE_CNAME_SUPPORT` | with a DNS challenge |
    /// | `LEGO_CA_CERTIFICATES` (paths joined with `:`), `LEGO_CA_SYSTEM_CERT_POOL`, `LEGO_CA_SERVER_NAME` | whose issuers set none of the three options |
    ///
    /// # Errors
    ///
    /// [`BooleanError`] if a variable is neither true nor false.
    pub fn apply_environment(
        &mut self,
        get: impl Fn(&str) -> Option<String>,
    ) -> Result<(), BooleanError> {
        let boolean = |variable: &'static str| match get(variable) {
            None => Ok(false),
            Some(text) if text.is_empty() => Ok(false),
            Some(text) => parse_bool(&text).ok_or(BooleanError {
                variable,
                found: text,
            }),
        };
        if boolean("LEGO_DISABLE_CNAME_SUPPORT")?
            && let Some(dns) = &mut self.dns_challenge
        {
            dns.cname_records = CnameRecords::Ignore;
        }
        let system_roots = boolean("LEGO_CA_SYSTEM_CERT_POOL")?;
        for issuer in &mut self.issuers {
            let trust = &mut issuer.trust;
            if *trust != Default::default() {
                continue;
            }
            let files = get("LEGO_CA_CERTIFICATES").unwrap_or_default();
            let files = files.split(':').filter(|file| !file.is_empty());
            trust.ca_certificates = files.map(str::to_owned).collect();
            trust.system_roots = system_roots;
            trust.server_name = get("LEGO_CA_SERVER_NAME").filter(|name| !name.is_empty());
        }
        Ok(())
    }
}

/// A boolean as Go reads it.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// An environment variable that is neither true nor false.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable} must be true or false, found {found:?}")]
#[non_exhaustive]
pub struct BooleanError {
    /// The variable.
    pub variable: &'static str,
    /// Its value.
    pub found: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DnsChallenge, IssuerOptions};

    #[test]
    fn variables() {
        let set = |name: &str| match name {
            "LEGO_DISABLE_CNAME_SUPPORT" => Some("true".to_owned()),
            "LEGO_CA_CERTIFICATES" => Some("/a.pem:/b.pem".to_owned()),
            "LEGO_CA_SERVER_NAME" => Some("pebble".to_owned()),
            _ => None,
        };
        let mut own = IssuerOptions::new("https://own.test/dir");
        own.trust.system_roots = true;
        let mut resolver = Resolver::new("le");
        resolver.dns_challenge = Some(DnsChallenge::default());
        resolver.issuers.push(own.clone());
        resolver.apply_environment(set).unwrap();
        assert_eq!(
            resolver.dns_challenge.as_ref().unwrap().cname_records,
            CnameRecords::Ignore
        );
        let trust = &resolver.issuers[0].trust;
        assert_eq!(trust.ca_certificates, ["/a.pem", "/b.pem"]);
        assert_eq!(trust.server_name.as_deref(), Some("pebble"));
        assert_eq!(resolver.issuers[1].trust, own.trust);

        let before = format!("{resolver:?}");
        resolver.apply_environment(|_| None).unwrap();
        assert_eq!(format!("{resolver:?}"), before);
        let wrong = resolver
            .apply_environment(|_| Some("yes".to_owned()))
            .unwrap_err();
        assert_eq!(
            wrong.to_string(),
            "LEGO_DISABLE_CNAME_SUPPORT must be true or false, found \"yes\""
        );
    }
}
