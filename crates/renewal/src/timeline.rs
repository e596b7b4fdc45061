//! One certificate's life as a picture.

mod load;
mod text;

use core::fmt;

use time::OffsetDateTime;

pub use self::load::LoadTimeline;
use crate::instant::{Utc, floor};
use crate::lifetime::Lifetime;
use crate::opening::Opening;
use crate::schedule::{Basis, Schedule};

/// A schedule drawn as SVG or as text: the validity as a bar with its lead set apart, the due
/// instant, openings and the CA's window behind it, retries on it.
///
/// The SVG is complete and stands alone: no scripts, no fonts, nothing to load.
/// Every mark carries its instant as a `<title>`; light and dark follow the viewer.
#[derive(Clone, Debug)]
pub struct Timeline {
    schedule: Schedule,
    openings: Vec<Opening>,
    retries: Vec<OffsetDateTime>,
    now: Option<OffsetDateTime>,
}

impl Timeline {
    /// The picture of one schedule, with the opening it was fitted into.
    #[must_use]
    pub fn new(schedule: Schedule) -> Self {
        Self {
            schedule,
            openings: schedule.opening().into_iter().collect(),
            retries: Vec::new(),
            now: None,
        }
    }

    /// Adds openings, shown where they meet the validity.
    #[must_use]
    pub fn openings(mut self, openings: impl IntoIterator<Item = Opening>) -> Self {
        self.openings.extend(openings);
        self
    }

    /// Adds attempts that failed or will be made; those outside the validity are
    /// shown at its end.
    #[must_use]
    pub fn retries(mut self, retries: impl IntoIterator<Item = OffsetDateTime>) -> Self {
        self.retries.extend(retries);
        self
    }

    /// Marks the present.
    #[must_use]
    pub fn now(mut self, now: OffsetDateTime) -> Self {
        self.now = Some(now);
        self
    }

    /// The SVG text.
    #[must_use]
    pub fn svg(&self) -> String {
        self.to_string()
    }

    fn life(&self) -> Lifetime {
        self.schedule.lifetime()
    }

    /// A second's place on the bar; outside the validity, the bar's nearer end.
    fn x(&self, second: i64) -> i64 {
        LEFT + self.share(second, BAR)
    }

    /// The part of `whole` that has passed at a second.
    fn share(&self, second: i64, whole: i64) -> i64 {
        let life = self.life();
        let passed = second
            .clamp(life.start(), life.end())
            .abs_diff(life.start());
        let length = life.start().abs_diff(life.end());
        let share = u128::from(passed) * u128::from(whole.unsigned_abs());
        i64::try_from(share / u128::from(length.max(1))).unwrap_or(whole)
    }

    /// The openings that meet the validity.
    fn openings_met(&self) -> impl Iterator<Item = (i64, i64)> {
        let life = self.life();
        let openings = self.openings.iter();
        let openings = openings.map(|o| (o.opening_second(), o.closing_second()));
        openings.filter(move |(opens, closes)| life.start() <= *closes && *opens <= life.end())
    }

    fn summary(&self, f: &mut impl fmt::Write) -> fmt::Result {
        let (life, due) = (self.life(), self.schedule.due_second());
        let (start, end, due) = (Utc(life.start()), Utc(life.end()), Utc(due));
        write!(f, "valid from {start} to {end}, renewal due at {due}")
    }

    fn span(&self, f: &mut fmt::Formatter<'_>, mark: &Mark, from: i64, to: i64) -> fmt::Result {
        let width = (self.x(to) - self.x(from)).max(THIN);
        self.rect(f, mark, from, width)?;
        writeln!(f, "from {} to {}</title></rect>", Utc(from), Utc(to))
    }

    fn point(&self, f: &mut fmt::Formatter<'_>, mark: &Mark, second: i64) -> fmt::Result {
        self.rect(f, mark, second, THIN)?;
        writeln!(f, "at {}</title></rect>", Utc(second))
    }

    /// A rectangle up to the name in its title.
    fn rect(&self, f: &mut fmt::Formatter<'_>, mark: &Mark, from: i64, width: i64) -> fmt::Result {
        let Mark {
            class,
            name,
            y,
            height,
        } = mark;
        let x = self.x(from);
        write!(
            f,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\">\
             <title>{name} "
        )
    }

    fn label(&self, f: &mut fmt::Formatter<'_>, name: &str, second: i64, y: i64) -> fmt::Result {
        let x = self.x(second);
        // Text at the picture's sides grows inwards.
        let anchor = match (x - LEFT) * 3 / BAR {
            0 => "start",
            1 => "middle",
            _ => "end",
        };
        writeln!(
            f,
            "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{name} {}</text>",
            Utc(second)
        )
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (life, due) = (self.life(), self.schedule.due_second());
        f.write_str(HEAD)?;
        f.write_str("<title>")?;
        self.summary(f)?;
        f.write_str("</title>\n")?;
        f.write_str(STYLE)?;
        if let Basis::Ari(window) | Basis::AriFloor(window) = self.schedule.basis() {
            self.span(f, &ARI, window.start_second(), window.end_second())?;
        }
        for (opens, closes) in self.openings_met() {
            self.span(f, &OPENING, opens, closes)?;
        }
        self.span(f, &VALID, life.start(), due)?;
        self.span(f, &LEAD, due, life.end())?;
        for retry in &self.retries {
            self.point(f, &RETRY, floor(*retry))?;
        }
        if let Some(now) = self.now {
            self.point(f, &NOW, floor(now))?;
        }
        let x = self.x(due);
        writeln!(
            f,
            "<circle class=\"due\" cx=\"{x}\" cy=\"1300\" r=\"140\"><title>due {}</title></circle>",
            Utc(due)
        )?;
        self.label(f, "due", due, 500)?;
        self.label(f, "from", life.start(), 2100)?;
        self.label(f, "to", life.end(), 2100)?;
        f.write_str("</svg>\n")
    }
}

struct Mark {
    class: &'static str,
    name: &'static str,
    y: i64,
    height: i64,
}

const ARI: Mark = Mark {
    class: "ari",
    name: "suggested by the CA",
    y: 700,
    height: 1200,
};
const OPENING: Mark = Mark {
    class: "opening",
    name: "open",
    y: 800,
    height: 1000,
};
const VALID: Mark = Mark {
    class: "valid",
    name: "valid",
    y: 1150,
    height: 300,
};
const LEAD: Mark = Mark {
    class: "lead",
    name: "renewing",
    y: 1150,
    height: 300,
};
const RETRY: Mark = Mark {
    class: "retry",
    name: "attempt",
    y: 1000,
    height: 600,
};
const NOW: Mark = Mark {
    class: "now",
    name: "now",
    y: 700,
    height: 1200,
};

/// The picture is 10,000 units wide, the bar begins at `LEFT`.
const LEFT: i64 = 300;
const BAR: i64 = 9400;
/// The least width of anything.
const THIN: i64 = 20;

const HEAD: &str = "\
<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" viewBox=\"0 0 10000 2400\" font-family=\"sans-serif\" font-size=\"240\">
";

const STYLE: &str = "\
<style>
svg { color: #222; background: #fff }
text { fill: currentColor }
.valid { fill: #3a7d44 } .lead { fill: #e0a030 } .due { fill: #b03030 }
.opening { fill: #3060c0; fill-opacity: 0.25 } .ari { fill: #8040a0; fill-opacity: 0.25 }
.retry { fill: #b03030 } .now { fill: currentColor }
@media (prefers-color-scheme: dark) { svg { color: #ddd; background: #111 } }
</style>
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instant::at;
    use crate::{AriWindow, RenewalPolicy, Seed};
    use proptest::prelude::*;

    const T: i64 = 1_767_225_600; // 2026-01-01T00:00:00Z
    const DAY: i64 = 86_400;

    fn schedule() -> Schedule {
        let life = Lifetime::from_seconds(T, T + 90 * DAY).unwrap();
        RenewalPolicy::TwoThirds.schedule(life).unwrap()
    }

    fn opening(from: i64, to: i64) -> Opening {
        Opening::new(at(T + from * DAY), at(T + to * DAY)).unwrap()
    }

    #[test]
    fn draws_to_scale() {
        let marks: Vec<String> = Timeline::new(schedule().moved_into(opening(45, 75)).unwrap())
            .openings([opening(-9, 9), opening(91, 95)])
            .retries([at(T + 63 * DAY), at(T + 1000 * DAY)])
            .now(at(T))
            .svg()
            .lines()
            .filter(|line| line.starts_with("<rect") || line.starts_with("<circle"))
            .map(|line| line.split("<title>").next().unwrap().to_owned())
            .collect();
        assert_eq!(
            marks,
            [
                r#"<rect class="opening" x="5000" y="800" width="3133" height="1000">"#,
                r#"<rect class="opening" x="300" y="800" width="940" height="1000">"#,
                r#"<rect class="valid" x="300" y="1150" width="6266" height="300">"#,
                r#"<rect class="lead" x="6566" y="1150" width="3134" height="300">"#,
                r#"<rect class="retry" x="6880" y="1000" width="20" height="600">"#,
                r#"<rect class="retry" x="9700" y="1000" width="20" height="600">"#,
                r#"<rect class="now" x="300" y="700" width="20" height="1200">"#,
                r#"<circle class="due" cx="6566" cy="1300" r="140">"#,
            ]
        );
    }

    #[test]
    fn tells_instants() {
        let svg = Timeline::new(schedule()).svg();
        for text in [
            "<title>valid from 2026-01-01T00:00:00Z to 2026-04-01T00:00:00Z, renewal due at \
             2026-03-02T00:00:00Z</title>",
            "text-anchor=\"start\">from 2026-01-01T00:00:00Z</text>",
            "text-anchor=\"end\">to 2026-04-01T00:00:00Z</text>",
            ">due 2026-03-02T00:00:00Z</text>",
        ] {
            assert!(svg.contains(text), "{text}\n{svg}");
        }
    }

    proptest! {
        #[test]
        fn stays_inside_the_picture_and_closes_what_it_opens(
            start: i64, length in 1i64.., ari in any::<(i64, u32)>(), retry: i64, open: i64,
        ) {
            let Ok(life) = Lifetime::from_seconds(start, start.saturating_add(length)) else {
                return Ok(());
            };
            let (from, to) = (at(ari.0), at(ari.0.saturating_add(1 + i64::from(ari.1))));
            let Ok(window) = AriWindow::new(from, to) else { return Ok(()) };
            let policy = RenewalPolicy::TwoThirds;
            let schedule = match policy.schedule_with_ari(life, window, Seed::new(b"a")) {
                Ok(schedule) => schedule,
                Err(error) => error.guarded(),
            };
            let svg = Timeline::new(schedule)
                .openings(Opening::new(at(open), at(open.saturating_add(9))))
                .retries([at(retry)])
                .now(at(retry))
                .svg();
            for part in svg.split("x=\"").skip(1) {
                let x: i64 = part.split('"').next().unwrap().parse().unwrap();
                prop_assert!((LEFT..=LEFT + BAR).contains(&x), "{}", svg);
            }
            for tag in ["svg", "style", "title", "rect", "circle", "text"] {
                let opened = svg.matches(&format!("<{tag}")).count();
                prop_assert_eq!(opened, svg.matches(&format!("</{tag}>")).count());
            }
        }
    }
}
