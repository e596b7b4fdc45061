//! The words of a rule: those of a Go expression, as far as rules use them.

use super::RuleError;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token<'r> {
    And,
    Close,
    Comma,
    Not,
    Open,
    Or,
    Text(String),
    Word(&'r str),
}

impl Token<'_> {
    pub(super) fn describe(&self) -> String {
        match self {
            Self::And => "&&".to_owned(),
            Self::Close => ")".to_owned(),
            Self::Comma => "a comma".to_owned(),
            Self::Not => "!".to_owned(),
            Self::Open => "(".to_owned(),
            Self::Or => "||".to_owned(),
            Self::Text(text) => format!("the text {:?}", short(text)),
            Self::Word(word) => format!("the word {:?}", short(word)),
        }
    }
}

fn short(text: &str) -> &str {
    let end = text
        .char_indices()
        .nth(64)
        .map_or(text.len(), |(end, _)| end);
    &text[..end]
}

pub(super) struct Tokens<'r> {
    text: &'r str,
    at: usize,
    peeked: Option<(usize, Token<'r>)>,
}

impl<'r> Tokens<'r> {
    pub(super) fn new(text: &'r str) -> Self {
        Self {
            text,
            at: 0,
            peeked: None,
        }
    }

    /// The length of the text: where its end is.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    pub(super) fn peek(&mut self) -> Result<Option<&(usize, Token<'r>)>, RuleError> {
        if self.peeked.is_none() {
            self.peeked = self.read()?;
        }
        Ok(self.peeked.as_ref())
    }

    /// The next token and where it starts; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(usize, Token<'r>)>, RuleError> {
        match self.peeked.take() {
            Some(token) => Ok(Some(token)),
            None => self.read(),
        }
    }

    fn read(&mut self) -> Result<Option<(usize, Token<'r>)>, RuleError> {
        let rest = self.text[self.at..].trim_start_matches([' ', '\t', '\r', '\n']);
        let at = self.text.len() - rest.len();
        let Some(first) = rest.chars().next() else {
            self.at = at;
            return Ok(None);
        };
        let (token, length) = match first {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            ',' => (Token::Comma, 1),
            '!' => (Token::Not, 1),
            '&' if rest.starts_with("&&") => (Token::And, 2),
            '|' if rest.starts_with("||") => (Token::Or, 2),
            '`' => {
                let text = rest[1..].split_once('`');
                let (text, _) = text.ok_or(RuleError::Unterminated { at })?;
                // As Go does, which reads files with either line end.
                (Token::Text(text.replace('\r', "")), text.len() + 2)
            }
            '"' => quoted(rest, at)?,
            c if c.is_ascii_alphabetic() || c == '_' => {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                let word = &rest[..end.unwrap_or(rest.len())];
                (Token::Word(word), word.len())
            }
            found => return Err(RuleError::Character { at, found }),
        };
        self.at = at + length;
        Ok(Some((at, token)))
    }
}

/// A text in double quotes with Go's escapes, and its length with the quotes.
fn quoted(rest: &str, start: usize) -> Result<(Token<'static>, usize), RuleError> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((Token::Text(text), at + 1)),
            '\n' => break,
            '\\' => {
                let escape = RuleError::Escape { at: start + at };
                let Some((_, kind)) = chars.next() else {
                    break;
                };
                let mut digits = |count: usize| {
                    let digits: String = chars.by_ref().take(count).map(|(_, c)| c).collect();
                    let whole =
                        digits.len() == count && digits.bytes().all(|b| b.is_ascii_hexdigit());
                    let code = u32::from_str_radix(&digits, 16).ok().filter(|_| whole);
                    code.and_then(char::from_u32)
                };
                let c = match kind {
                    'a' => Some('\u{7}'),
                    'b' => Some('\u{8}'),
                    'f' => Some('\u{c}'),
                    'n' => Some('\n'),
                    'r' => Some('\r'),
                    't' => Some('\t'),
                    'v' => Some('\u{b}'),
                    '\\' | '"' => Some(kind),
                    'u' => digits(4),
                    'U' => digits(8),
                    // Of bytes, only those that are characters by themselves.
                    'x' => digits(2).filter(char::is_ascii),
                    _ => None,
                };
                text.push(c.ok_or(escape)?);
            }
            c => text.push(c),
        }
    }
    Err(RuleError::Unterminated { at: start })
}
