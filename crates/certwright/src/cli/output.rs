//! Where answers go: standard output, as text or JSON; what is said about them goes to standard error.

use std::error::Error;
use std::io::{self, IsTerminal as _, Write};

use serde_json::Value;

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ColorChoice {
    /// Always.
    Always,
    /// On terminals, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Never.
    Never,
}

impl ColorChoice {
    fn on(self, is_terminal: bool) -> bool {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        match self {
            Self::Always => true,
            Self::Auto => {
                let dumb = set("TERM").is_some_and(|term| term == "dumb");
                is_terminal && !dumb && set("NO_COLOR").is_none()
            }
            Self::Never => false,
        }
    }
}

/// How something is emphasised.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Style {
    Bad,
    Good,
    Strong,
    Worth,
}

/// Text between the marks of a style, where there are colours.
pub(crate) fn paint(color: bool, style: Style, text: &str) -> String {
    let code = match style {
        Style::Bad => "1;31",
        Style::Good => "32",
        Style::Strong => "1",
        Style::Worth => "1;33",
    };
    match color {
        true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        false => text.to_owned(),
    }
}

/// Rows in columns as wide as their longest cell, three spaces apart; the last one may be as long as it likes. A cell
/// can neither speak to a terminal nor forge another row.
pub(crate) fn columns(rows: &[Vec<String>]) -> String {
    let plain = |row: &Vec<String>| -> Vec<String> {
        row.iter().map(|cell| super::one_line(cell)).collect()
    };
    let rows: Vec<_> = rows.iter().map(plain).collect();
    let mut widths = Vec::new();
    for row in &rows {
        widths.resize(row.len().max(widths.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths);
        let cells: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(cells.join("   ").trim_end());
        text.push('\n');
    }
    text
}

/// Standard output and standard error.
#[derive(Debug)]
pub(crate) struct Output {
    /// Whether answers are JSON.
    pub(crate) json: bool,
    color: bool,
    color_errors: bool,
    out: io::BufWriter<io::Stdout>,
}

impl Output {
    pub(crate) fn new(json: bool, color: ColorChoice) -> Self {
        Self {
            json,
            color: !json && color.on(io::stdout().is_terminal()),
            color_errors: color.on(io::stderr().is_terminal()),
            out: io::BufWriter::new(io::stdout()),
        }
    }

    /// A piece of text in a style.
    pub(crate) fn paint(&self, style: Style, text: &str) -> String {
        paint(self.color, style, text)
    }

    /// Writes text.
    pub(crate) fn text(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())
    }

    /// Writes a line.
    pub(crate) fn line(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.out, "{line}")
    }

    /// Writes one object in one line.
    pub(crate) fn object(&mut self, object: &Value) -> io::Result<()> {
        writeln!(self.out, "{object}")
    }

    /// Writes one document, for people too.
    pub(crate) fn document(&mut self, document: &Value) -> io::Result<()> {
        writeln!(self.out, "{document:#}")
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Says why something did not work.
    pub(crate) fn error(&mut self, error: &(dyn Error + 'static)) {
        let _ = self.out.flush();
        let title = paint(self.color_errors, Style::Bad, "error:");
        let _ = writeln!(io::stderr(), "{title} {}", super::with_causes(error));
    }

    /// Says what is wrong with what was given, and goes on.
    pub(crate) fn wrong(&mut self, message: &str) {
        let _ = self.out.flush();
        let title = paint(self.color_errors, Style::Bad, "error:");
        let _ = writeln!(io::stderr(), "{title} {}", super::one_line(message));
    }

    /// Says what is worth a look.
    pub(crate) fn warn(&mut self, message: &str) {
        let _ = self.out.flush();
        let title = paint(self.color_errors, Style::Worth, "warning:");
        let _ = writeln!(io::stderr(), "{title} {}", super::one_line(message));
    }
}

/// `1 file`, `2 files`.
pub(crate) fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_forges_no_row_and_speaks_to_no_terminal() {
        let rows = [["NAME", "WHY"], ["a\u{1b}[2J\nb", "\u{9b}31m\u{202e}x"]];
        let text = columns(&rows.map(|row| row.map(str::to_owned).to_vec()));
        assert_eq!(
            text,
            "NAME            WHY\na\\u{1b}[2J\\nb   \\u{9b}31m\\u{202e}x\n"
        );
    }
}
