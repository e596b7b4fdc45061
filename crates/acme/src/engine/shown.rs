//! What this replica answers challenges with. It is told twice: by whoever orders here, at
//! once, and by the store's watch, which may be in the past.

use std::collections::HashSet;

use certwright_storage::Revision;

use super::Shared;
use crate::challenge::tls_alpn01::{self, ChallengeCertificate};
use crate::layout::Shown;

/// The last word on a server name, of which one answer at a time can be shown.
#[derive(Debug)]
pub(super) struct Word {
    /// Of when it is.
    at: Revision,
    shown: bool,
}

impl Shared {
    /// Answers on this replica from now on, whoever ordered, unless something later is known.
    pub(super) fn show(&self, shown: &Shown, authorization: &str, at: Revision) {
        let name = match shown {
            Shown::Token(token) => return self.http01.show(token, authorization),
            Shown::Name(name) => name,
        };
        let mut words = super::lock(&self.words);
        let later = |last: &Word| last.at > at || (last.at == at && !last.shown);
        if words.get(name).is_some_and(later) {
            return;
        }
        words.insert(name.clone(), Word { at, shown: true });
        self.tls_alpn01.show(name, authorization);
        let made = tls_alpn01::identifier_of(name)
            .and_then(|identifier| ChallengeCertificate::new(&identifier, authorization));
        if let (Some(sink), Some(made)) = (&self.options.alpn, made) {
            sink.answer(name, made);
        }
    }

    /// Does not answer with anything up to this revision any more; the watch may still be
    /// on its way there.
    pub(super) fn hide(&self, shown: &Shown, at: Revision) {
        self.forget(shown, at, true);
    }

    /// The same where the watch says so: it has nothing older to tell any more.
    pub(super) fn gone(&self, shown: &Shown, at: Revision) {
        self.forget(shown, at, false);
    }

    /// What was not in the store any more when all of it was listed is not answered with: who
    /// took it away did so while nobody watched. A store that was `restored` may be at
    /// revisions that it was at before; what is known of later ones is no matter then.
    pub(super) fn listed(&self, there: &HashSet<Shown>, at: Revision, restored: bool) {
        let mut words = super::lock(&self.words);
        words.retain(|name, word| {
            let known = word.at <= at;
            if there.contains(&Shown::Name(name.clone())) || !(known || restored) {
                return known || !restored;
            }
            self.take_away(name);
            false
        });
    }

    fn forget(&self, shown: &Shown, at: Revision, remember: bool) {
        let name = match shown {
            Shown::Token(token) => return self.http01.hide(token),
            Shown::Name(name) => name,
        };
        let mut words = super::lock(&self.words);
        if words.get(name).is_some_and(|last| last.at > at) {
            return;
        }
        if remember {
            if words.len() >= WORDS {
                // Without a watch nobody takes them away.
                words.retain(|_, word| word.shown);
            }
            words.insert(name.clone(), Word { at, shown: false });
        } else {
            words.remove(name);
        }
        self.take_away(name);
    }

    fn take_away(&self, name: &str) {
        self.tls_alpn01.hide(name);
        if let Some(sink) = &self.options.alpn {
            sink.forget(name);
        }
    }
}

/// Names whose answers were taken away here are remembered up to about so many.
const WORDS: usize = 1_000;

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::account::AccountSpec;
    use crate::challenge::Solvers;
    use crate::challenge::tls_alpn01::AlpnSink;
    use crate::engine::{Engine, Options};
    use crate::issuer::Issuer;
    use crate::testing::{FakeCa, World};

    #[derive(Debug, Default)]
    struct Told(Mutex<usize>);

    impl AlpnSink for Told {
        fn answer(&self, _: &str, _: ChallengeCertificate) {
            *self.0.lock().unwrap() += 1;
        }

        fn forget(&self, _: &str) {
            *self.0.lock().unwrap() = 0;
        }
    }

    enum Act {
        Show(&'static str),
        Hide,
        Gone,
        Listed(bool),
        Restored(bool),
    }

    #[test]
    fn the_latest_word_counts_in_whatever_order_it_is_told() {
        use Act::{Gone, Hide, Listed, Restored, Show};
        for (story, words, expected, left) in [
            (
                "one order",
                &[(5, Show("a")), (5, Show("a"))][..],
                Some("a"),
                1,
            ),
            (
                "the watch is behind",
                &[(8, Show("b")), (5, Show("a")), (6, Gone)],
                Some("b"),
                1,
            ),
            (
                "and catches up",
                &[
                    (8, Show("b")),
                    (5, Show("a")),
                    (6, Gone),
                    (8, Show("b")),
                    (9, Gone),
                ],
                None,
                0,
            ),
            (
                "it was taken away here",
                &[(8, Show("b")), (8, Hide), (5, Show("a"))],
                None,
                1,
            ),
            (
                "the watch tells of it only then",
                &[(8, Show("b")), (8, Hide), (8, Show("b")), (9, Gone)],
                None,
                0,
            ),
            (
                "another replica shows its own",
                &[(8, Show("b")), (8, Hide), (9, Gone), (12, Show("c"))],
                Some("c"),
                1,
            ),
            (
                "another replica takes it away while nobody watches",
                &[(8, Show("b")), (9, Listed(false))],
                None,
                0,
            ),
            (
                "it is shown after the listing",
                &[(8, Show("b")), (7, Listed(false))],
                Some("b"),
                1,
            ),
            (
                "it is listed after all",
                &[(8, Show("b")), (9, Listed(true)), (8, Show("b"))],
                Some("b"),
                1,
            ),
            (
                "it is taken away here, and not yet in the store",
                &[(8, Show("b")), (8, Hide), (8, Listed(true)), (8, Show("b"))],
                None,
                1,
            ),
            (
                "a store from before it was shown",
                &[(8, Show("b")), (5, Restored(false))],
                None,
                0,
            ),
            (
                "another is shown then",
                &[(8, Show("b")), (5, Restored(false)), (6, Show("c"))],
                Some("c"),
                1,
            ),
            (
                "or is in there",
                &[(8, Show("b")), (5, Restored(true)), (4, Show("a"))],
                Some("a"),
                1,
            ),
        ] {
            let world = World::new();
            let storage = Arc::new(world.storage());
            let ca = Arc::new(FakeCa::new(&world, &storage));
            let account = AccountSpec::new("https://ca.test/dir");
            let issuer = Issuer::new("ca", account, ca, Solvers::tls_alpn01());
            let sink = Arc::new(Told::default());
            let options = Options {
                alpn: Some(sink.clone()),
                ..Options::default()
            };
            let engine = Engine::new(storage, Arc::new(world), vec![issuer], options).unwrap();
            let name = Shown::Name("a.test".to_owned());
            for (at, act) in words {
                let at = Revision::new(*at);
                match act {
                    Show(answer) => engine.shared.show(&name, answer, at),
                    Hide => engine.shared.hide(&name, at),
                    Gone => engine.shared.gone(&name, at),
                    Listed(there) | Restored(there) => {
                        let all = there.then(|| name.clone()).into_iter().collect();
                        let restored = matches!(act, Restored(_));
                        engine.shared.listed(&all, at, restored);
                    }
                }
            }
            let known = engine.tls_alpn01().known("a.test");
            assert_eq!(known.as_deref(), expected, "{story}");
            let served = *sink.0.lock().unwrap() > 0;
            assert_eq!(served, expected.is_some(), "{story}");
            assert_eq!(engine.shared.words.lock().unwrap().len(), left, "{story}");
        }
    }
}
