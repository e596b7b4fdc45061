use crate::certificate::RenewalWindowSpec;
use crate::duration::DurationDialect;
use crate::report::{Report, spec};
use crate::validated::RenewalTiming;
use crate::violation::{FieldPath, ViolationKind};

#[cfg(feature = "windows")]
pub(super) fn windows(
    report: &mut Report,
    windows: &[RenewalWindowSpec],
    dialect: DurationDialect,
) -> RenewalTiming {
    let windows: Vec<_> = windows
        .iter()
        .enumerate()
        .filter_map(|(index, window)| checked::window(report, &path(index), window, dialect))
        .collect();
    if windows.is_empty() {
        return RenewalTiming::AnyTime;
    }
    RenewalTiming::Windows(windows.into_iter().collect())
}

/// Without the grammar of cron and the time zones no window can be checked, let alone kept.
#[cfg(not(feature = "windows"))]
pub(super) fn windows(
    report: &mut Report,
    windows: &[RenewalWindowSpec],
    _: DurationDialect,
) -> RenewalTiming {
    for index in 0..windows.len() {
        report.violation(
            path(index),
            ViolationKind::NotSupported,
            "this program is built without renewal windows (feature windows of certwright-cert-model)",
        );
    }
    RenewalTiming::AnyTime
}

fn path(index: usize) -> FieldPath {
    spec("renewal").child("windows").index(index)
}

#[cfg(feature = "windows")]
mod checked {
    use certwright_renewal::window::{Cron, InvalidWindow, Window, Zone};

    use super::*;
    use crate::certificate::validate::lifetime;
    use crate::duration::GoDuration;

    pub(super) fn window(
        report: &mut Report,
        path: &FieldPath,
        window: &RenewalWindowSpec,
        dialect: DurationDialect,
    ) -> Option<Window> {
        let duration = duration(report, path.child("windowDuration"), window, dialect);
        let zone = zone(report, path.child("timezone"), window.timezone.as_deref());
        let cron = cron(report, path.child("cron"), &window.cron);
        let Ok(zone) = zone else {
            // Upstream writes the zone in front of the cron text, so that both are wrong; one that is wrong anyway has
            // been reported.
            if cron.is_some() {
                report.invalid(path.child("cron"), "cannot be read in an unknown time zone");
            }
            return None;
        };
        match Window::new(cron?, duration?.into(), zone) {
            Ok(window) => Some(window),
            Err(error) => {
                let field = match error {
                    InvalidWindow::TooShort { .. } => "windowDuration",
                    _ => "cron",
                };
                report.invalid(path.child(field), error.to_string());
                None
            }
        }
    }

    fn duration(
        report: &mut Report,
        field: FieldPath,
        window: &RenewalWindowSpec,
        dialect: DurationDialect,
    ) -> Option<GoDuration> {
        if window.window_duration.is_none() {
            report.violation(field, ViolationKind::Required, "must be set, like 2h");
            return None;
        }
        lifetime::duration(report, || field, window.window_duration.as_deref(), dialect)
    }

    /// The zone if one is written; an error if it was reported.
    fn zone(report: &mut Report, field: FieldPath, name: Option<&str>) -> Result<Option<Zone>, ()> {
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        name.parse::<Zone>()
            .map(Some)
            .map_err(|error| report.invalid(field, error.to_string()))
    }

    fn cron(report: &mut Report, field: FieldPath, text: &str) -> Option<Cron> {
        let cron: Cron = match text.parse() {
            Ok(cron) => cron,
            Err(error) => {
                report.refused(field, text, &error);
                return None;
            }
        };
        if !cron.ever_fires() {
            report.invalid(
                field,
                format!("{text:?} never fires; such a window would forbid every renewal"),
            );
            return None;
        }
        Some(cron)
    }
}
