//! Which of the offered chains is taken.

use super::Chain;

/// Which chain to take when a CA offers several.
///
/// Traefik's rule (`preferredChain`): a chain fits a name if the issuer of its last certificate has that
/// common name, letter by letter. Here there may be several names, the most wanted first, and of several
/// chains that fit, the first offered is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChainPreference {
    /// Common names of the last issuer, the most wanted first.
    pub names: Vec<String>,
    /// What is taken when no chain fits a name.
    pub otherwise: Otherwise,
}

/// What is taken when no chain fits a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Otherwise {
    /// The chain the CA answers with first, its default.
    #[default]
    Offered,
    /// The one with the fewest certificates; of several, the first offered.
    Shortest,
}

/// Which chain was taken, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Selected<'p> {
    /// It fits this name.
    Named {
        /// The position among the chains.
        index: usize,
        /// The name.
        name: &'p str,
    },
    /// No chain fits a name, though there are names: worth a warning.
    NoneNamed {
        /// The position among the chains.
        index: usize,
    },
    /// There are no names.
    Default {
        /// The position among the chains.
        index: usize,
    },
}

impl Selected<'_> {
    /// The position of the chain that was taken.
    pub fn index(self) -> usize {
        match self {
            Self::Named { index, .. } | Self::NoneNamed { index } | Self::Default { index } => {
                index
            }
        }
    }
}

impl ChainPreference {
    /// The preference for this name, as the text of `preferredChain` means it: the empty text is none.
    pub fn named(name: &str) -> Self {
        Self {
            names: match name {
                "" => Vec::new(),
                name => vec![name.to_owned()],
            },
            ..Self::default()
        }
    }

    /// Whether the chain offered first may not be the one to take, so that the alternates have to be
    /// asked for.
    pub fn wants_alternates(&self, offered: &Chain) -> bool {
        match self.names.first() {
            Some(name) => offered.top_issuer() != Some(name),
            None => self.otherwise == Otherwise::Shortest && offered.certificates().len() > 1,
        }
    }

    /// Which of the chains to take; the first is the one offered first. `None` if there is none.
    pub fn select(&self, chains: &[Chain]) -> Option<Selected<'_>> {
        let offers: Vec<Offer<'_>> = chains
            .iter()
            .map(|chain| Offer {
                top_issuer: chain.top_issuer(),
                length: chain.certificates().len(),
            })
            .collect();
        self.choose(&offers)
    }

    fn choose(&self, offers: &[Offer<'_>]) -> Option<Selected<'_>> {
        for name in &self.names {
            let mut offers = offers.iter();
            if let Some(index) = offers.position(|offer| offer.top_issuer == Some(name)) {
                return Some(Selected::Named { index, name });
            }
        }
        let index = match self.otherwise {
            Otherwise::Offered => 0,
            Otherwise::Shortest => {
                let lengths = offers.iter().map(|offer| offer.length).enumerate();
                lengths.min_by_key(|(_, length)| *length)?.0
            }
        };
        offers.get(index)?;
        Some(match self.names.is_empty() {
            true => Selected::Default { index },
            false => Selected::NoneNamed { index },
        })
    }
}

/// What the choice looks at.
struct Offer<'c> {
    top_issuer: Option<&'c str>,
    length: usize,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn preference(names: &[&str], otherwise: Otherwise) -> ChainPreference {
        ChainPreference {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            otherwise,
        }
    }

    fn offers<'c>(offers: &[(&'c str, usize)]) -> Vec<Offer<'c>> {
        let offers = offers.iter().map(|(name, length)| Offer {
            top_issuer: (!name.is_empty()).then_some(*name),
            length: *length,
        });
        offers.collect()
    }

    #[test]
    fn choices() {
        let lets_encrypt = offers(&[
            ("DST Root CA X3", 3),
            ("ISRG Root X1", 2),
            ("ISRG Root X2", 2),
        ]);
        let twins = offers(&[("A", 2), ("B", 2), ("B", 1)]);
        use Otherwise::*;
        for (names, otherwise, offers, expected) in [
            (&[][..], Offered, &lets_encrypt, Some((0, false))),
            (&[], Shortest, &lets_encrypt, Some((1, false))),
            (&["ISRG Root X1"], Offered, &lets_encrypt, Some((1, true))),
            // Letter by letter.
            (&["isrg root x1"], Offered, &lets_encrypt, Some((0, false))),
            (&["ISRG Root X"], Shortest, &lets_encrypt, Some((1, false))),
            // The first name that fits, not the first chain.
            (
                &["None", "ISRG Root X2", "DST Root CA X3"],
                Offered,
                &lets_encrypt,
                Some((2, true)),
            ),
            (&["B"], Offered, &twins, Some((1, true))),
            (&[], Shortest, &twins, Some((2, false))),
            (&["A"], Offered, &Vec::new(), None),
            (&[], Shortest, &Vec::new(), None),
        ] {
            let preference = preference(names, otherwise);
            let chosen = preference.choose(offers);
            let found = chosen.map(|it| (it.index(), matches!(it, Selected::Named { .. })));
            assert_eq!(found, expected, "{names:?} {otherwise:?}");
        }
        assert_eq!(ChainPreference::named(""), ChainPreference::default());
        assert_eq!(ChainPreference::named("A"), preference(&["A"], Offered));
    }

    proptest! {
        #[test]
        fn a_chain_that_fits_is_never_passed_over(
            names in proptest::collection::vec("[A-D]", 0..4),
            chains in proptest::collection::vec(("[A-E]", 1usize..5), 1..6),
            shortest: bool,
        ) {
            let otherwise = if shortest { Otherwise::Shortest } else { Otherwise::Offered };
            let preference = ChainPreference { names: names.clone(), otherwise };
            let offers: Vec<Offer<'_>> = chains
                .iter()
                .map(|(name, length)| Offer { top_issuer: Some(name), length: *length })
                .collect();
            let taken = preference.choose(&offers).unwrap();
            let rank = |issuer: &str| names.iter().position(|name| name == issuer).unwrap_or(names.len());
            let (issuer, length) = &chains[taken.index()];
            for (other, other_length) in &chains {
                prop_assert!(rank(issuer) <= rank(other));
                if rank(issuer) == names.len() && shortest {
                    prop_assert!(length <= other_length);
                }
            }
        }
    }
}
