//! One certificate's names against the constraints of every CA above it.

use core::fmt::Display;

use super::dns::Host;
use super::mailbox::Mailbox;
use super::subtree::{self, Hit, Side, Subtrees};
use super::{
    CaConstraints, ConstraintLevel, NameForm, NameViolation, Position, ViolationReason, uri,
};
use crate::general_name::GeneralName;
use crate::name::{self, COMMON_NAME, EMAIL_ADDRESS};

/// Collects what is wrong with the names of one certificate.
pub(super) struct Judge<'a> {
    pub(super) cas: &'a [CaConstraints],
    pub(super) level: ConstraintLevel,
    pub(super) violations: Vec<NameViolation>,
}

impl Judge<'_> {
    pub(super) fn name(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::Dns(text) => self.dns(text, NameForm::Dns),
            GeneralName::Email(text) => self.email(text, NameForm::Email),
            GeneralName::Uri(text) => self.uri(text),
            GeneralName::Ip(address) => self.forms(
                NameForm::Ip,
                |subtrees| &subtrees.ip,
                |base, _| match address.len() {
                    4 | 16 => base.test(address),
                    _ => Hit::Malformed,
                },
                || display_ip(address),
            ),
            GeneralName::Directory(name) => self.directory(name, NameForm::Directory),
            GeneralName::Other { .. } => self.undefined(0, NameForm::Other),
            GeneralName::X400 => self.undefined(3, NameForm::X400),
            GeneralName::EdiParty => self.undefined(5, NameForm::EdiParty),
            GeneralName::RegisteredId(_) => self.undefined(8, NameForm::RegisteredId),
        }
    }

    pub(super) fn subject(&mut self, subject: &[u8], any: bool, dns: bool, position: Position) {
        if name::rdns(subject).next().is_none() {
            return;
        }
        self.directory(subject, NameForm::Subject);
        let interop = self.level == ConstraintLevel::Interop;
        for attribute in name::rdns(subject).flat_map(name::Rdn::attributes) {
            let email = attribute.oid == EMAIL_ADDRESS && (interop || !any);
            let host = attribute.oid == COMMON_NAME && interop && !dns && position == Position::End;
            if !email && !host {
                continue;
            }
            // Nearly every value fits; a longer one is no host, but a mailbox it can be.
            let mut buffer = [0; 256];
            let long: String;
            let text = match attribute.chars().and_then(|c| ascii(c, &mut buffer)) {
                Some(text) => text,
                None if !email => continue,
                None => {
                    long = match attribute.chars() {
                        Some(chars) => chars.collect(),
                        None => format!("{:02x?}", attribute.value),
                    };
                    &long
                }
            };
            if email {
                self.email(text, NameForm::SubjectEmail);
            } else if subtree::host_like(text.as_bytes()) {
                self.dns(text, NameForm::CommonName);
            }
        }
    }

    fn dns(&mut self, text: &str, form: NameForm) {
        let host = Host::presented(text.as_bytes());
        for ca in self.cas {
            let (permitted, excluded) = (&ca.permitted.dns, &ca.excluded.dns);
            if permitted.is_empty() && excluded.is_empty() {
                continue;
            }
            let malformed = permitted.malformed().or(excluded.malformed());
            let violation = match &host {
                _ if malformed.is_some() => {
                    ca.violation(form, text, malformed, ViolationReason::Malformed)
                }
                None => {
                    let subtree = permitted.only().or(excluded.only());
                    ca.violation(form, text, subtree, ViolationReason::Malformed)
                }
                Some(host) => {
                    if let Some(subtree) = excluded.touching(host) {
                        ca.violation(form, text, Some(subtree), ViolationReason::Excluded)
                    } else if permitted.is_empty() || permitted.holding(host).is_some() {
                        continue;
                    } else {
                        let only = permitted.only();
                        ca.violation(form, text, only, ViolationReason::NotPermitted)
                    }
                }
            };
            self.violations.push(violation);
        }
    }

    fn email(&mut self, text: &str, form: NameForm) {
        let mailbox = Mailbox::new(text);
        self.forms(
            form,
            |subtrees| &subtrees.email,
            |base, _| match &mailbox {
                Some(mailbox) => base.test(mailbox),
                None => Hit::Malformed,
            },
            || text.to_owned(),
        );
    }

    fn uri(&mut self, text: &str) {
        let interop = self.level == ConstraintLevel::Interop;
        let host = uri::host(text, interop);
        let host = match host {
            Ok(host) if !interop && !host.is_qualified() => Err(ViolationReason::NoHost),
            host => host,
        };
        match host {
            Ok(host) => self.forms(
                NameForm::Uri,
                |subtrees| &subtrees.uri,
                |base, _| base.test(&host),
                || text.to_owned(),
            ),
            Err(reason) => {
                for ca in self.cas {
                    if !(ca.permitted.uri.is_empty() && ca.excluded.uri.is_empty()) {
                        let subtree = ca.permitted.uri.first().or(ca.excluded.uri.first());
                        let violation = ca.violation(NameForm::Uri, text, subtree, reason);
                        self.violations.push(violation);
                    }
                }
            }
        }
    }

    fn directory(&mut self, name: &[u8], form: NameForm) {
        self.forms(
            form,
            |subtrees| &subtrees.directory,
            |base, side| base.test(name, side),
            || name::display(name),
        );
    }

    /// A form whose matching is not defined: refused wherever it is constrained.
    fn undefined(&mut self, tag: u8, form: NameForm) {
        for ca in self.cas {
            if (ca.permitted.undefined | ca.excluded.undefined) & (1 << tag) != 0 {
                let none: Option<&String> = None;
                let reason = ViolationReason::UndefinedForm;
                self.violations.push(ca.violation(form, "", none, reason));
            }
        }
    }

    /// Tests one name against the subtrees of its form, of every CA.
    fn forms<B: Display>(
        &mut self,
        form: NameForm,
        bases: impl Fn(&Subtrees) -> &[B],
        test: impl Fn(&B, Side) -> Hit,
        text: impl Fn() -> String,
    ) {
        for ca in self.cas {
            let (permitted, excluded) = (bases(&ca.permitted), bases(&ca.excluded));
            let excluding = excluded
                .iter()
                .find_map(|base| match test(base, Side::Excluded) {
                    Hit::Outside => None,
                    Hit::Inside => Some((base, ViolationReason::Excluded)),
                    Hit::Malformed => Some((base, ViolationReason::Malformed)),
                });
            let mut found = excluding.map(|(base, reason)| (Some(base), reason));
            if found.is_none() && !permitted.is_empty() {
                let mut inside = false;
                for base in permitted {
                    match test(base, Side::Permitted) {
                        Hit::Outside => {}
                        Hit::Inside => inside = true,
                        Hit::Malformed => {
                            found = Some((Some(base), ViolationReason::Malformed));
                            break;
                        }
                    }
                }
                if found.is_none() && !inside {
                    // With one permitted subtree it is worth naming; with several none is to blame.
                    let only = (permitted.len() == 1).then(|| permitted.first()).flatten();
                    found = Some((only, ViolationReason::NotPermitted));
                }
            }
            if let Some((base, reason)) = found {
                self.violations
                    .push(ca.violation(form, &text(), base, reason));
            }
        }
    }
}

impl CaConstraints {
    fn violation(
        &self,
        form: NameForm,
        name: &str,
        subtree: Option<impl Display>,
        reason: ViolationReason,
    ) -> NameViolation {
        NameViolation {
            ca: name::display(&self.subject),
            ca_index: self.index,
            form,
            name: name.to_owned(),
            subtree: subtree.map(|subtree| subtree.to_string()),
            reason,
        }
    }
}

/// The characters as text in `buffer`, if they are ASCII and fit.
fn ascii<'b>(chars: name::Chars<'_>, buffer: &'b mut [u8; 256]) -> Option<&'b str> {
    let mut length = 0;
    for c in chars {
        let byte = u8::try_from(c).ok().filter(u8::is_ascii)?;
        *buffer.get_mut(length)? = byte;
        length += 1;
    }
    core::str::from_utf8(&buffer[..length]).ok()
}

fn display_ip(octets: &[u8]) -> String {
    use core::net::IpAddr;
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    let v6 = <[u8; 16]>::try_from(octets).map(IpAddr::from);
    v4.or(v6)
        .map_or_else(|_| format!("{octets:02x?}"), |address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{OID, SEQUENCE, SET, UTF8_STRING, VISIBLE_STRING, context};
    use crate::encode::element;

    fn subject(oid: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
        let attribute = [element(OID, oid), element(tag, value)].concat();
        element(SEQUENCE, &element(SET, &element(SEQUENCE, &attribute)))
    }

    /// The forms refused to a certificate of this subject and no other name.
    fn refused(list: u8, tag: u8, base: &[u8], subject: &[u8]) -> Vec<NameForm> {
        let list = element(context(list), &element(SEQUENCE, &element(tag, base)));
        let (permitted, excluded) = subtree::read(&element(SEQUENCE, &list)).unwrap();
        let cas = [CaConstraints {
            index: 0,
            subject: [SEQUENCE, 0].into(),
            permitted,
            excluded,
        }];
        let mut judge = Judge {
            cas: &cas,
            level: ConstraintLevel::Interop,
            violations: Vec::new(),
        };
        judge.subject(subject, false, false, Position::End);
        judge.violations.iter().map(|one| one.form).collect()
    }

    #[test]
    fn no_address_in_a_subject_escapes() {
        let email = |tag, value: &[u8]| subject(EMAIL_ADDRESS, tag, value);
        let long = [&[b'u'; 300], &b"@example.org"[..]].concat();
        for (value, good) in [
            (email(UTF8_STRING, b"u@example.com"), true),
            (email(VISIBLE_STRING, b"u@example.com"), true),
            (email(UTF8_STRING, b"u@example.org"), false),
            (email(VISIBLE_STRING, b"u@example.org"), false),
            (email(UTF8_STRING, &long), false),
            (email(UTF8_STRING, "\u{fc}@example.com".as_bytes()), false),
            (email(UTF8_STRING, b"\xff@example.org"), false),
            (email(0x04, b"u@example.org"), false),
        ] {
            let found = refused(0, 0x81, b"example.com", &value);
            let expected: &[NameForm] = if good { &[] } else { &[NameForm::SubjectEmail] };
            assert_eq!(found, expected, "{}", name::display(&value));
        }
        let value = email(UTF8_STRING, &long);
        assert_eq!(
            refused(1, 0x81, b"example.org", &value),
            [NameForm::SubjectEmail]
        );
    }

    #[test]
    fn no_wildcard_in_a_common_name_escapes() {
        for (value, good) in [
            ("*.example.com", true),
            ("*.example.org", false),
            ("w*.example.org", false),
            ("* of Acme", true),
        ] {
            for tag in [UTF8_STRING, VISIBLE_STRING] {
                let value = subject(COMMON_NAME, tag, value.as_bytes());
                let found = refused(0, 0x82, b"example.com", &value);
                let expected: &[NameForm] = if good { &[] } else { &[NameForm::CommonName] };
                assert_eq!(found, expected, "{}", name::display(&value));
            }
        }
    }

    #[test]
    fn another_string_type_does_not_escape_an_exclusion() {
        let base = subject(&[0x55, 4, 10], UTF8_STRING, b"Acme");
        let value = subject(&[0x55, 4, 10], VISIBLE_STRING, b"ACME");
        assert_eq!(refused(1, 0xa4, &base, &value), [NameForm::Subject]);
    }
}
