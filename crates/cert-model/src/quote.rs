use core::fmt;

/// A text in double quotes with JSON's escapes, which YAML reads too.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

/// Whether a name is too long to stand in front of a `:` (YAML 1.2.2, 7.4.3: 1024 characters).
pub(crate) fn is_long(key: &str) -> bool {
    // One character is at most six, as an escape.
    key.len() > 160 && Quoted(key).to_string().chars().count() > 1000
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                // YAML breaks lines at the last two, and reads a byte order mark at the start.
                c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                    write!(f, "\\u{:04x}", u32::from(c))?;
                }
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}
