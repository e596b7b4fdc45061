//! One certificate's life as lines of text.

use core::fmt::Write;

use super::Timeline;
use crate::instant::{Utc, floor};
use crate::schedule::Basis;

impl Timeline {
    /// The picture for a terminal: a bar of `columns` characters (10 at least) and marks
    /// above and below it, in ASCII, without colours.
    #[must_use]
    pub fn text(&self, columns: u16) -> String {
        let bar = Bar {
            timeline: self,
            columns: columns.max(10),
        };
        let (life, due) = (self.life(), self.schedule.due_second());
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.summary(&mut text);
        text.push('\n');
        let window = match self.schedule.basis() {
            Basis::Ari(window) | Basis::AriFloor(window) => Some(window),
            _ => None,
        };
        let window = window.map(|w| (w.start_second(), w.end_second()));
        bar.line(&mut text, "CA", window, '~');
        bar.line(&mut text, "open", self.openings_met(), 'o');
        let life = [
            (life.start(), due, '='),
            (due, life.end(), '-'),
            (due, due, 'D'),
        ];
        bar.marks(&mut text, "life", life);
        let retries = self.retries.iter().map(|retry| floor(*retry));
        bar.line(&mut text, "attempts", retries.map(|at| (at, at)), 'x');
        if let Some(now) = self.now.map(floor) {
            bar.line(&mut text, "now", [(now, now)], '^');
        }
        let lead = self.schedule.lead().whole_days();
        let _ = writeln!(
            text,
            "          = valid  - renewing, {lead} days  D due {}",
            Utc(due)
        );
        text
    }
}

struct Bar<'a> {
    timeline: &'a Timeline,
    columns: u16,
}

impl Bar<'_> {
    fn line(
        &self,
        text: &mut String,
        name: &str,
        spans: impl IntoIterator<Item = (i64, i64)>,
        mark: char,
    ) {
        let spans = spans.into_iter().map(|(from, to)| (from, to, mark));
        self.marks(text, name, spans);
    }

    /// A line with every span from its first to its last column; none without spans.
    fn marks(
        &self,
        text: &mut String,
        name: &str,
        spans: impl IntoIterator<Item = (i64, i64, char)>,
    ) {
        let mut cells = vec![' '; usize::from(self.columns)];
        let mut marked = false;
        for (from, to, mark) in spans {
            cells[self.column(from)..=self.column(to)].fill(mark);
            marked = true;
        }
        if marked {
            let _ = writeln!(text, "{name:<9}|{}|", cells.iter().collect::<String>());
        }
    }

    fn column(&self, second: i64) -> usize {
        let share = self.timeline.share(second, i64::from(self.columns));
        usize::try_from(share.min(i64::from(self.columns) - 1)).unwrap_or(0)
    }
}
