//! Tables and durations as `kubectl` prints them.

use certwright::Manager;
use certwright::view::{self, IssuerTree};
use time::{Duration, OffsetDateTime};

/// Prints what `kubectl get certificate` would: NAME READY SECRET ISSUER AGE RENEWS.
pub(crate) fn certificates(manager: &Manager, now: OffsetDateTime) {
    let mut rows = vec![["NAME", "READY", "SECRET", "ISSUER", "AGE", "RENEWS"].map(str::to_owned)];
    for name in manager.order() {
        let (Some(spec), Some(status)) = (
            manager.inventory().certificate(name),
            manager.status(name, now),
        ) else {
            continue;
        };
        rows.push([
            name.to_string(),
            if status.ready { "True" } else { "False" }.to_owned(),
            spec.secret_name().to_owned(),
            spec.issuer_ref().name.clone(),
            status
                .not_before
                .map_or("-".to_owned(), |since| short(now - since)),
            status.next.map_or("never".to_owned(), |next| {
                format!("in {}", short(next - now))
            }),
        ]);
    }
    table(&rows);
}

/// Prints what `kubectl get issuers` would, and who signs whom.
pub(crate) fn issuers(manager: &mut Manager, now: OffsetDateTime) {
    let issuers = manager.issuer_views(now);
    let tree = IssuerTree::new(&issuers, &manager.certificate_views(now));
    for text in [view::issuers(&issuers, now).to_string(), tree.to_string()] {
        println!();
        for line in text.lines() {
            println!("   {line}");
        }
    }
}

/// Prints rows in columns as wide as their longest cell.
pub(crate) fn table<const N: usize>(rows: &[[String; N]]) {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in rows {
        let cells: Vec<_> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        println!("   {}", cells.join("  ").trim_end());
    }
}

/// A duration in its two largest units: `74d`, `15h59m`, `3s`.
pub(crate) fn short(duration: Duration) -> String {
    let seconds = duration.whole_seconds().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (3.., ..) | (1.., 0, _) => format!("{days}d"),
        (1.., ..) => format!("{days}d{hours}h"),
        (0, 1.., 0) => format!("{hours}h"),
        (0, 1.., _) => format!("{hours}h{minutes}m"),
        (0, 0, 1..) => format!("{minutes}m"),
        _ => format!("{seconds}s"),
    }
}

/// Heads a section.
pub(crate) fn heading(number: usize, text: &str) {
    println!("\n{number}. {text}");
}

/// An error with its causes on one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
