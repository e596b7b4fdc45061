//! The rules of Traefik's routers, as far as they name hosts.
//!
//! ```
//! use certwright_acme::rule::hosts;
//!
//! let rule = "(Host(`A.example.com`) || Host(\"b.example.com\")) && !PathPrefix(`/api`)";
//! assert_eq!(hosts(rule)?, ["a.example.com", "b.example.com"]);
//! # Ok::<(), certwright_acme::rule::RuleError>(())
//! ```

mod token;

use token::{Token, Tokens};

/// The longest rule, in bytes.
pub const MAX_RULE: usize = 64 * 1024;
/// How deeply parentheses and negations may lie in each other.
pub const MAX_DEPTH: usize = 64;

/// The names in every `Host()` and `HostSNI()` of a rule, in small letters, each once, in order.
///
/// `&&` and `||` count the same: a name that may be asked for needs a certificate. A negated matcher
/// names nothing, nor does ``HostSNI(`*`)``, nor do regular expressions. Matchers are spelt in any case,
/// and take several arguments as they did in Traefik 2.
///
/// # Errors
///
/// [`RuleError`] if the text is no rule, or has a matcher that Traefik does not know.
pub fn hosts(rule: &str) -> Result<Vec<String>, RuleError> {
    if rule.len() > MAX_RULE {
        return Err(RuleError::TooLong { found: rule.len() });
    }
    let mut parser = Parser {
        tokens: Tokens::new(rule),
        hosts: Vec::new(),
    };
    parser.or(Negated::No, 0)?;
    match parser.tokens.next()? {
        None => Ok(parser.hosts),
        Some((at, token)) => Err(RuleError::Unexpected {
            at,
            found: token.describe(),
            expected: "&&, || or the end",
        }),
    }
}

struct Parser<'r> {
    tokens: Tokens<'r>,
    hosts: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Negated {
    No,
    Yes,
}

impl Parser<'_> {
    /// `&&` binds closer than `||`; for the names of a rule that makes no difference.
    fn or(&mut self, negated: Negated, depth: usize) -> Result<(), RuleError> {
        loop {
            self.unary(negated, depth)?;
            match self.tokens.peek()? {
                Some((_, Token::And | Token::Or)) => self.tokens.next()?,
                _ => return Ok(()),
            };
        }
    }

    fn unary(&mut self, negated: Negated, depth: usize) -> Result<(), RuleError> {
        let Some((at, token)) = self.tokens.next()? else {
            return Err(self.end("a matcher such as Host(`example.com`)"));
        };
        if depth > MAX_DEPTH {
            return Err(RuleError::Depth { at });
        }
        match token {
            Token::Not => {
                let other = match negated {
                    Negated::No => Negated::Yes,
                    Negated::Yes => Negated::No,
                };
                self.unary(other, depth + 1)
            }
            Token::Open => {
                self.or(negated, depth + 1)?;
                self.expect(&Token::Close, ")")
            }
            Token::Word(name) => self.matcher(name, at, negated),
            token => Err(RuleError::Unexpected {
                at,
                found: token.describe(),
                expected: "a matcher such as Host(`example.com`)",
            }),
        }
    }

    fn matcher(&mut self, name: &str, at: usize, negated: Negated) -> Result<(), RuleError> {
        let mut known = MATCHERS.iter();
        let Some(known) = known.find(|known| known.eq_ignore_ascii_case(name)) else {
            return Err(RuleError::Matcher {
                at,
                found: name.chars().take(64).collect(),
            });
        };
        self.expect(&Token::Open, "(")?;
        let mut arguments = Vec::new();
        loop {
            match self.tokens.next()? {
                Some((_, Token::Close)) => break,
                Some((_, Token::Text(text))) => arguments.push(text),
                Some((at, token)) => {
                    return Err(RuleError::Unexpected {
                        at,
                        found: token.describe(),
                        expected: "a text in backticks or double quotes",
                    });
                }
                None => return Err(self.end("a text in backticks or double quotes")),
            }
            match self.tokens.next()? {
                Some((_, Token::Close)) => break,
                Some((_, Token::Comma)) => {}
                Some((at, token)) => {
                    return Err(RuleError::Unexpected {
                        at,
                        found: token.describe(),
                        expected: "a comma or )",
                    });
                }
                None => return Err(self.end("a comma or )")),
            }
        }
        if arguments.is_empty() || arguments.iter().any(String::is_empty) {
            return Err(RuleError::Empty { at, matcher: known });
        }
        if negated == Negated::No && matches!(*known, "Host" | "HostSNI") {
            for name in arguments {
                let name = name.to_lowercase();
                if name != "*" && !self.hosts.contains(&name) {
                    self.hosts.push(name);
                }
            }
        }
        Ok(())
    }

    fn expect(&mut self, wanted: &Token<'_>, expected: &'static str) -> Result<(), RuleError> {
        match self.tokens.next()? {
            Some((_, token)) if token == *wanted => Ok(()),
            Some((at, token)) => Err(RuleError::Unexpected {
                at,
                found: token.describe(),
                expected,
            }),
            None => Err(self.end(expected)),
        }
    }

    fn end(&self, expected: &'static str) -> RuleError {
        RuleError::Unexpected {
            at: self.tokens.len(),
            found: "the end".to_owned(),
            expected,
        }
    }
}

/// The matchers of Traefik's HTTP and TCP routers, of both syntaxes.
const MATCHERS: [&str; 18] = [
    "ALPN",
    "ClientIP",
    "Header",
    "HeaderRegexp",
    "Headers",
    "HeadersRegexp",
    "Host",
    "HostHeader",
    "HostRegexp",
    "HostSNI",
    "HostSNIRegexp",
    "Method",
    "Path",
    "PathPrefix",
    "PathRegexp",
    "Query",
    "QueryRegexp",
    "UserAgent",
];

/// Why a text is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// A character that rules do not have.
    #[error("{found:?} at byte {at} has no meaning in a rule; put texts in backticks")]
    Character {
        /// Byte offset.
        at: usize,
        /// The character.
        found: char,
    },
    /// Parentheses or negations lie too deeply in each other.
    #[error("parentheses and negations lie more than {MAX_DEPTH} deep in each other at byte {at}")]
    Depth {
        /// Byte offset.
        at: usize,
    },
    /// A matcher without arguments, or with an empty one, which Traefik refuses too.
    #[error("{matcher} at byte {at} needs a text that is not empty")]
    Empty {
        /// Byte offset.
        at: usize,
        /// Its name.
        matcher: &'static str,
    },
    /// An escape that Go does not have, in a text in double quotes.
    #[error("unknown escape at byte {at}; put the text in backticks")]
    Escape {
        /// Byte offset of the backslash.
        at: usize,
    },
    /// A matcher that no router has.
    #[error("unknown matcher {found:?} at byte {at}")]
    Matcher {
        /// Byte offset.
        at: usize,
        /// Its name.
        found: String,
    },
    /// The rule is longer than [`MAX_RULE`].
    #[error("the rule has {found} bytes, more than {MAX_RULE}")]
    TooLong {
        /// Its length.
        found: usize,
    },
    /// Something else stands where something must stand.
    #[error("expected {expected} at byte {at}, found {found}")]
    Unexpected {
        /// Byte offset.
        at: usize,
        /// What is there.
        found: String,
        /// What must be there.
        expected: &'static str,
    },
    /// A text without its end.
    #[error("the text that starts at byte {at} has no end")]
    Unterminated {
        /// Byte offset of the opening quote.
        at: usize,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rules() {
        for (rule, expected) in [
            ("Host(`a.test`)", &["a.test"][..]),
            ("Host(`A.Test`) && PathPrefix(`/b`)", &["a.test"]),
            (
                "HostSNI(`a.test`) || host(\"b.test\")",
                &["a.test", "b.test"],
            ),
            ("Host(`a.test`,`b.test`, `a.test`)", &["a.test", "b.test"]),
            ("Path(`/`)", &[]),
            ("HostRegexp(`^.+\\.a\\.test$`)", &[]),
            ("HostSNI(`*`) && ClientIP(`192.0.2.0/24`)", &[]),
            ("!Host(`a.test`) && Host(`b.test`)", &["b.test"]),
            ("!(Host(`a.test`) || !Host(`b.test`))", &["b.test"]),
            ("!!Host(`a.test`)", &["a.test"]),
            ("((Host(`a.test`)))", &["a.test"]),
            (
                "Host(`a.test`)&&(Host(`b.test`)||Host(`c.test`))",
                &["a.test", "b.test", "c.test"],
            ),
            ("Host(\"a\\u002etest\")", &["a.test"]),
            ("Header(`X`, `Host(\\`)&&Host(`a.test`)", &["a.test"]),
            ("Host(`a.test`,) && Path(`/a`,)", &["a.test"]),
            ("\n Host ( `a.test` )\t", &["a.test"]),
        ] {
            assert_eq!(
                hosts(rule),
                Ok(expected.iter().map(|it| (*it).to_owned()).collect()),
                "{rule}"
            );
        }
    }

    #[test]
    fn mistakes() {
        for (rule, expected) in [
            (
                "",
                "expected a matcher such as Host(`example.com`) at byte 0, found the end",
            ),
            ("Host", "expected ( at byte 4, found the end"),
            ("Host(`a`", "expected a comma or ) at byte 8, found the end"),
            (
                "Host(`a` `b`)",
                "expected a comma or ) at byte 9, found the text \"b\"",
            ),
            (
                "Path(`/`) && Host()",
                "Host at byte 13 needs a text that is not empty",
            ),
            (
                "host(`a`, ``)",
                "Host at byte 0 needs a text that is not empty",
            ),
            (
                "Host(a)",
                "expected a text in backticks or double quotes at byte 5, found the word \"a\"",
            ),
            ("Host(`a)", "the text that starts at byte 5 has no end"),
            ("Host(\"a\n\")", "the text that starts at byte 5 has no end"),
            (
                "Host(\"a\\q\")",
                "unknown escape at byte 7; put the text in backticks",
            ),
            ("Hosts(`a`)", "unknown matcher \"Hosts\" at byte 0"),
            (
                "Host(`a`) Host(`b`)",
                "expected &&, || or the end at byte 10, found the word \"Host\"",
            ),
            (
                "Host(`a`) &&",
                "expected a matcher such as Host(`example.com`) at byte 12, found the end",
            ),
            (
                "Host(`a`) & Host(`b`)",
                "'&' at byte 10 has no meaning in a rule; put texts in backticks",
            ),
            ("(Host(`a`)", "expected ) at byte 10, found the end"),
            (
                "Host(`a`))",
                "expected &&, || or the end at byte 9, found )",
            ),
            (
                "Host('a')",
                "'\\'' at byte 5 has no meaning in a rule; put texts in backticks",
            ),
        ] {
            assert_eq!(hosts(rule).unwrap_err().to_string(), expected, "{rule}");
        }
        let deep = format!("{}Host(`a`)", "!".repeat(1000));
        assert_eq!(hosts(&deep), Err(RuleError::Depth { at: MAX_DEPTH + 1 }));
        let deep = "(".repeat(1000);
        assert_eq!(hosts(&deep), Err(RuleError::Depth { at: MAX_DEPTH + 1 }));
        let long = " ".repeat(MAX_RULE + 1);
        assert!(matches!(hosts(&long), Err(RuleError::TooLong { .. })));
    }

    /// A rule and the names in it that are not negated.
    fn rule() -> impl Strategy<Value = (String, Vec<String>, Vec<String>)> {
        let leaf = prop_oneof![
            "[a-z]{1,5}\\.test".prop_map(|name| (format!("Host(`{name}`)"), vec![name], vec![])),
            Just(("Path(`/`)".to_owned(), vec![], vec![])),
        ];
        leaf.prop_recursive(4, 16, 2, |inner| {
            prop_oneof![
                inner.clone().prop_map(|(rule, named, negated)| (
                    format!("!({rule})"),
                    negated,
                    named
                )),
                (inner.clone(), prop_oneof![Just("&&"), Just("||")], inner).prop_map(
                    |((left, mut named, mut negated), operator, (right, more, other))| {
                        named.extend(more);
                        negated.extend(other);
                        (format!("({left} {operator} {right})"), named, negated)
                    }
                ),
            ]
        })
    }

    proptest! {
        #[test]
        fn generated_rules((rule, named, _) in rule()) {
            let mut expected = Vec::new();
            for name in named {
                if !expected.contains(&name) {
                    expected.push(name);
                }
            }
            prop_assert_eq!(hosts(&rule), Ok(expected));
        }

        #[test]
        fn no_text_panics(text in "[Host()`\"!&|, a\\\\]{0,40}") {
            let _ = hosts(&text);
        }
    }
}
