//! Traefik's renewal table.

use time::Duration;

/// How Traefik renews under one setting of `certificatesDuration`.
///
/// From Traefik's ACME documentation:
///
/// | certificatesDuration | renewed before expiry | checked every |
/// |---|---|---|
/// | at least 8760 h | 120 d | 7 d |
/// | at least 2160 h | 30 d | 24 h |
/// | at least 720 h | 10 d | 12 h |
/// | at least 144 h | 2 d | 2 h |
/// | at least 24 h | 6 h | 10 min |
/// | less | 20 min | 1 min |
///
/// The table looks at the setting, not at the certificate. In Traefik a certificate
/// of six days under the default setting is therefore renewed at every check; here
/// the same is a [`RenewalLoop`](crate::RenewalLoop).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AcmeTable {
    renew_before: Duration,
    check_every: Duration,
}

impl AcmeTable {
    /// The row for a `certificatesDuration` in hours; Traefik's default is 2160.
    #[must_use]
    pub fn for_hours(certificates_duration: u64) -> Self {
        let (renew_before, check_every) = match certificates_duration {
            8760.. => (Duration::days(120), Duration::WEEK),
            2160.. => (Duration::days(30), Duration::DAY),
            720.. => (Duration::days(10), Duration::hours(12)),
            144.. => (Duration::days(2), Duration::hours(2)),
            24.. => (Duration::hours(6), Duration::minutes(10)),
            _ => (Duration::minutes(20), Duration::MINUTE),
        };
        Self {
            renew_before,
            check_every,
        }
    }

    /// How long before expiry a certificate is renewed (`renewPeriod`).
    #[must_use]
    pub fn renew_before(&self) -> Duration {
        self.renew_before
    }

    /// How often Traefik looks (`renewInterval`). An [`Agenda`](crate::Agenda) does
    /// not have to; it says how late Traefik's own renewal may be.
    #[must_use]
    pub fn check_every(&self) -> Duration {
        self.check_every
    }
}

impl Default for AcmeTable {
    fn default() -> Self {
        Self::for_hours(2160)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_begin_where_traefik_begins_them() {
        for (hours, renew_before, check_every) in [
            (0, 1200, 60),
            (23, 1200, 60),
            (24, 21_600, 600),
            (143, 21_600, 600),
            (144, 172_800, 7200),
            (719, 172_800, 7200),
            (720, 864_000, 43_200),
            (2159, 864_000, 43_200),
            (2160, 2_592_000, 86_400),
            (8759, 2_592_000, 86_400),
            (8760, 10_368_000, 604_800),
            (u64::MAX, 10_368_000, 604_800),
        ] {
            let row = AcmeTable::for_hours(hours);
            assert_eq!(row.renew_before().whole_seconds(), renew_before, "{hours}");
            assert_eq!(row.check_every().whole_seconds(), check_every, "{hours}");
        }
        assert_eq!(AcmeTable::default(), AcmeTable::for_hours(2160));
    }
}
