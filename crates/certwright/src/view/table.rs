use core::fmt;

use serde_json::{Map, Value};

/// Rows under headings, in columns as wide as their longest cell, three spaces apart like `kubectl`'s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(headings: &[&'static str]) -> Self {
        Self {
            headings: headings.to_vec(),
            rows: Vec::new(),
        }
    }

    pub(super) fn push<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.headings.len(), "a cell under every heading");
        self.rows.push(cells.into());
    }

    /// The headings, in capitals.
    pub fn headings(&self) -> &[&'static str] {
        &self.headings
    }

    /// The cells, row by row.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[String]> {
        self.rows.iter().map(Vec::as_slice)
    }

    /// The rows as JSON objects, under the headings in lower case.
    pub fn to_json(&self) -> Value {
        let object = |row: &Vec<String>| {
            let names = self.headings.iter().map(|name| name.to_ascii_lowercase());
            let cells = row.iter().map(|cell| Value::from(cell.as_str()));
            Value::Object(names.zip(cells).collect::<Map<_, _>>())
        };
        self.rows.iter().map(object).collect()
    }
}

impl fmt::Display for Table {
    /// Writes it without what could speak to a terminal or forge another row.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headings: Vec<_> = self
            .headings
            .iter()
            .map(|name| (*name).to_owned())
            .collect();
        let mut widths: Vec<_> = headings.iter().map(String::len).collect();
        let plain = |row: &Vec<String>| -> Vec<String> {
            let cells = row.iter();
            cells.map(|cell| cell.escape_debug().to_string()).collect()
        };
        let rows: Vec<_> = self.rows.iter().map(plain).collect();
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        for row in [&headings].into_iter().chain(&rows) {
            let cells = row.iter().zip(&widths);
            let cells: Vec<_> = cells
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            writeln!(f, "{}", cells.join("   ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_forges_no_row_and_speaks_to_no_terminal() {
        let mut table = Table::new(&["NAME", "READY"]);
        table.push(["a\u{1b}[2J\nb   True".to_owned(), "False".to_owned()]);
        let text = table.to_string();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
}
