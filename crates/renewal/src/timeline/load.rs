//! A fleet's load as a picture.

use core::fmt::{self, Write};

use super::HEAD;
use crate::fleet::Load;
use crate::instant::Utc;

/// A fleet's load, before and after smoothing, drawn as SVG or as text.
///
/// Where there are more steps than the picture has room for, neighbours share a bar,
/// which shows the busiest of them: a peak does not vanish.
#[derive(Clone, Debug)]
pub struct LoadTimeline {
    before: Load,
    after: Option<Load>,
    limit: Option<usize>,
}

impl LoadTimeline {
    /// The picture of a load as planned.
    #[must_use]
    pub fn new(before: Load) -> Self {
        Self {
            before,
            after: None,
            limit: None,
        }
    }

    /// Adds the load after smoothing; `None` if it is counted in other steps.
    #[must_use]
    pub fn after(self, after: Load) -> Option<Self> {
        (after.step() == self.before.step()).then_some(Self {
            after: Some(after),
            ..self
        })
    }

    /// Marks what a quota allows in a step.
    #[must_use]
    pub fn limit(self, limit: usize) -> Self {
        Self {
            limit: Some(limit),
            ..self
        }
    }

    /// The SVG text, like that of a [`Timeline`](crate::Timeline) complete and alone.
    #[must_use]
    pub fn svg(&self) -> String {
        let mut svg = String::new();
        // Writing to a string does not fail.
        let _ = self.write_svg(&mut svg);
        svg
    }

    /// The picture for a terminal, in ASCII, without colours: at most `rows` bars (1 at
    /// least), the longest of them `columns` characters (10 at least).
    ///
    /// | character | means |
    /// |---|---|
    /// | `#` | there before and after |
    /// | `-` | moved away |
    /// | `+` | moved here |
    /// | `:` | the limit |
    #[must_use]
    pub fn text(&self, columns: u16, rows: u16) -> String {
        let mut text = String::new();
        let _ = self.write_text(&mut text, columns.max(10), rows);
        text
    }

    fn write_text(&self, f: &mut String, columns: u16, rows: u16) -> fmt::Result {
        let bars = self.bars(rows);
        let top = self.top(&bars);
        let scaled = |count| scale(count, top, columns.into());
        writeln!(f, "{:<20} {:>8} {:>8}", "from", "before", "after")?;
        for bar in bars {
            let (before, after) = (bar.before, bar.after.unwrap_or(bar.before));
            let (low, high) = (scaled(before.min(after)), scaled(before.max(after)));
            let rest = if before > after { '-' } else { '+' };
            let mut cells: Vec<char> = (0..high)
                .map(|cell| if cell < low { '#' } else { rest })
                .collect();
            if let Some(limit) = self.limit {
                let place = scaled(limit);
                cells.resize(cells.len().max(place + 1), ' ');
                cells.insert(place, ':');
            }
            let count = bar
                .after
                .map_or_else(String::new, |after| after.to_string());
            let cells: String = cells.into_iter().collect();
            let line = format!(
                "{:<20} {before:>8} {count:>8} {cells}",
                Utc(bar.from).to_string()
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }

    fn write_svg(&self, f: &mut String) -> fmt::Result {
        let bars = self.bars(MOST_BARS);
        let top = self.top(&bars);
        let y = |count| BASE - scale(count, top, HEIGHT);
        f.write_str(HEAD)?;
        f.write_str("<title>renewals before")?;
        f.write_str(if self.after.is_some() {
            " and after smoothing"
        } else {
            ""
        })?;
        f.write_str("</title>\n")?;
        f.write_str(STYLE)?;
        let count = bars.len().max(1);
        for (place, bar) in bars.iter().enumerate() {
            let (x, next) = (LEFT + place * BAR / count, LEFT + (place + 1) * BAR / count);
            let counts = [("before", Some(bar.before)), ("after", bar.after)];
            for (class, count) in counts {
                let Some(count) = count.filter(|count| *count > 0) else {
                    continue;
                };
                // The later picture stands in front and is narrower: both stay visible.
                let inset = if class == "after" { (next - x) / 4 } else { 0 };
                writeln!(
                    f,
                    "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\">\
                     <title>{count} {class}, from {} to {}</title></rect>",
                    x + inset,
                    y(count),
                    (next - x - inset * 2).max(1),
                    BASE - y(count),
                    Utc(bar.from),
                    Utc(bar.until)
                )?;
            }
        }
        if let Some(limit) = self.limit {
            writeln!(
                f,
                "<rect class=\"limit\" x=\"{LEFT}\" y=\"{}\" width=\"{BAR}\" height=\"20\">\
                 <title>{limit} allowed</title></rect>",
                y(limit) - 10
            )?;
        }
        if let (Some(first), Some(last)) = (bars.first(), bars.last()) {
            let (from, until, right) = (Utc(first.from), Utc(last.until), LEFT + BAR);
            writeln!(
                f,
                "<text x=\"{LEFT}\" y=\"2250\" text-anchor=\"start\">{from}</text>"
            )?;
            writeln!(
                f,
                "<text x=\"{right}\" y=\"2250\" text-anchor=\"end\">{until}</text>"
            )?;
        }
        let most = |load: &Load| load.busiest().map_or(0, |(_, count)| count);
        write!(
            f,
            "<text x=\"{LEFT}\" y=\"300\" text-anchor=\"start\">at most {}",
            most(&self.before)
        )?;
        if let Some(after) = &self.after {
            write!(f, ", after smoothing {}", most(after))?;
        }
        f.write_str("</text>\n</svg>\n")
    }

    /// At most so many bars over the whole time, with the busiest step of each.
    fn bars(&self, most: u16) -> Vec<Bar> {
        let loads = [Some(&self.before), self.after.as_ref()];
        let slots = || loads.into_iter().flatten().flat_map(Load::slots);
        let first = slots().map(|(slot, _)| *slot).min();
        let last = slots().map(|(slot, _)| *slot).max();
        let (Some(first), Some(last)) = (first, last) else {
            return Vec::new();
        };
        let steps = last.abs_diff(first) + 1;
        let each = steps.div_ceil(most.max(1).into());
        let bars = steps.div_ceil(each);
        let start = |bar: u64| {
            let slot = first.saturating_add_unsigned(bar.saturating_mul(each));
            self.before.second(slot)
        };
        let mut bars: Vec<Bar> = (0..bars)
            .map(|bar| Bar {
                from: start(bar),
                until: start(bar + 1),
                before: 0,
                after: self.after.as_ref().map(|_| 0),
            })
            .collect();
        let place = |slot: i64| usize::try_from(slot.abs_diff(first) / each).unwrap_or(0);
        for (slot, count) in self.before.slots() {
            let before = &mut bars[place(*slot)].before;
            *before = (*before).max(*count);
        }
        for (slot, count) in self.after.iter().flat_map(Load::slots) {
            let after = &mut bars[place(*slot)].after;
            *after = (*after).max(Some(*count));
        }
        bars
    }

    /// What the picture is as high as.
    fn top(&self, bars: &[Bar]) -> usize {
        let counts = bars.iter().flat_map(|bar| [Some(bar.before), bar.after]);
        // A limit has its place above nothing, too.
        let counts = counts.chain([self.limit]);
        counts.flatten().max().unwrap_or(0)
    }
}

struct Bar {
    /// Seconds.
    from: i64,
    until: i64,
    before: usize,
    after: Option<usize>,
}

/// A count's share of `whole`, not nothing unless the count is.
fn scale(count: usize, top: usize, whole: usize) -> usize {
    let share = count as u128 * whole as u128 / top.max(1) as u128;
    let share = usize::try_from(share).unwrap_or(whole);
    share.max(usize::from(count > 0))
}

const MOST_BARS: u16 = 240;
/// The picture is 10,000 units wide and 2,400 high.
const LEFT: usize = 300;
const BAR: usize = 9400;
const BASE: usize = 1950;
const HEIGHT: usize = 1500;

const STYLE: &str = "\
<style>
svg { color: #222; background: #fff }
text { fill: currentColor }
.before { fill: #e0a030 } .after { fill: #3a7d44 } .limit { fill: #b03030 }
@media (prefers-color-scheme: dark) { svg { color: #ddd; background: #111 } }
</style>
";
