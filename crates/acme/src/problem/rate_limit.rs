use super::{ErrorType, Problem};

/// What a CA limits, as far as its words tell.
///
/// A refusal freezes its scope only: a limit on one name must not stop the others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RateLimitScope {
    /// Everything of the account; also when the words tell nothing.
    Account,
    /// Certificates for a registered domain and all names below it.
    Domain(String),
    /// Failed validations of one name.
    FailedValidations(String),
    /// Registrations from this address.
    NewAccounts,
    /// Certificates for exactly these names.
    NameSet,
}

impl Problem {
    /// Which scope a refusal for too many requests is about; `None` if it is no such refusal.
    ///
    /// [RFC 8555 section 6.6] leaves that to people, so the words of Let's Encrypt's Boulder are looked
    /// for, and names in quotes or subproblems; of other words, the whole account is meant.
    ///
    /// [RFC 8555 section 6.6]: https://www.rfc-editor.org/rfc/rfc8555#section-6.6
    pub fn rate_limit_scope(&self) -> Option<RateLimitScope> {
        if self.kind != ErrorType::RateLimited && self.status != 429 {
            return None;
        }
        let detail = self.detail.as_deref().unwrap_or_default();
        let detail = detail.to_ascii_lowercase();
        let name = || {
            let quoted = quoted(&detail);
            let mut named = self.subproblems.iter();
            quoted.or_else(|| named.find_map(|one| one.identifier.clone()))
        };
        let scope = if detail.contains("exact set of") {
            Some(RateLimitScope::NameSet)
        } else if detail.contains("registrations") {
            Some(RateLimitScope::NewAccounts)
        } else if detail.contains("failed authorizations") {
            name().map(RateLimitScope::FailedValidations)
        } else if let Some((_, names)) =
            detail.split_once("prevented from requesting certificates for ")
        {
            // An account that failed for one name too often is paused for that name.
            let end = names.find([' ', ',']).unwrap_or(names.len());
            Some(RateLimitScope::FailedValidations(names[..end].to_owned()))
        } else if detail.contains("certificates") && detail.contains("already issued") {
            name().map(RateLimitScope::Domain)
        } else {
            None
        };
        Some(scope.unwrap_or(RateLimitScope::Account))
    }
}

/// What stands in the first pair of double quotes.
fn quoted(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('"')?;
    let (name, _) = rest.split_once('"')?;
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_boulder() {
        for (detail, scope) in [
            (
                "too many new orders (300) from this account in the last 3h0m0s, retry after 2026-01-01 00:00:00 UTC",
                RateLimitScope::Account,
            ),
            (
                "too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s",
                RateLimitScope::NameSet,
            ),
            (
                "too many certificates (5) already issued for this exact set of domains in the last 168h0m0s",
                RateLimitScope::NameSet,
            ),
            (
                "too many certificates (50) already issued for \"Example.com\" in the last 168h0m0s",
                RateLimitScope::Domain("example.com".to_owned()),
            ),
            (
                "too many failed authorizations (5) for \"a.example.com\" in the last 1h0m0s",
                RateLimitScope::FailedValidations("a.example.com".to_owned()),
            ),
            (
                "too many new registrations (10) from this IP address in the last 3h0m0s",
                RateLimitScope::NewAccounts,
            ),
            (
                "Your account is temporarily prevented from requesting certificates for a.test and possibly others. Please visit: https://ca.test",
                RateLimitScope::FailedValidations("a.test".to_owned()),
            ),
            ("too many failed authorizations", RateLimitScope::Account),
            ("Service busy; retry later.", RateLimitScope::Account),
            ("", RateLimitScope::Account),
        ] {
            let problem = Problem {
                detail: Some(detail.to_owned()),
                ..Problem::new(429, ErrorType::RateLimited)
            };
            assert_eq!(problem.rate_limit_scope(), Some(scope), "{detail}");
        }
        assert_eq!(Problem::new(500, ErrorType::Blank).rate_limit_scope(), None);
        let silent = Problem::new(429, ErrorType::Blank).rate_limit_scope();
        assert_eq!(silent, Some(RateLimitScope::Account));
    }
}
