//! The duration of `@every`, in Go's grammar.

use time::Duration;

/// Parses what Go's `time.ParseDuration` parses: an optional sign, then `0` or
/// numbers with units (`h`, `m`, `s`, `ms`, `us`, `ns`), each with an optional
/// fraction. Fractions are cut to nanoseconds.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let number = take(&mut rest, |c| c.is_ascii_digit() || c == '.');
        let unit = take(&mut rest, |c| !(c.is_ascii_digit() || c == '.'));
        nanos = nanos.checked_add(amount(number, unit)?)?;
    }
    // Go counts in i64 nanoseconds and takes exactly -2^63 as well.
    let nanos = i128::try_from(nanos).ok()?;
    let nanos = i64::try_from(if negative { -nanos } else { nanos }).ok()?;
    Some(Duration::nanoseconds(nanos))
}

fn amount(number: &str, unit: &str) -> Option<u128> {
    let unit: u128 = match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    // Seventeen digits are finer than a nanosecond of an hour.
    let fraction = &fraction[..fraction.len().min(17)];
    let part = match fraction.parse::<u128>() {
        Ok(digits) => digits * unit / 10u128.pow(u32::try_from(fraction.len()).ok()?),
        Err(_) => 0,
    };
    u128::from(whole).checked_mul(unit)?.checked_add(part)
}

fn take<'a>(rest: &mut &'a str, belongs: impl Fn(char) -> bool) -> &'a str {
    let end = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
    let (taken, left) = rest.split_at(end);
    *rest = left;
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_gos_grammar() {
        for (text, nanos) in [
            ("0", 0),
            ("1h", 3_600_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("-1.5s", -1_500_000_000),
            ("+.5m", 30_000_000_000),
            ("5.s", 5_000_000_000),
            ("1us1\u{b5}s1\u{3bc}s", 3_000),
            ("2562047h47m16.854775807s", i64::MAX),
            ("-2562047h47m16.854775808s", i64::MIN),
        ] {
            assert_eq!(parse(text), Some(Duration::nanoseconds(nanos)), "{text}");
        }
        for text in [
            "",
            "-",
            "1",
            "1d",
            "1H",
            "1h 30m",
            " 1h",
            "h",
            ".s",
            "1..5s",
            "1.2.3s",
            "--1s",
            "1h-30m",
            "2562047h47m16.854775808s",
            "99999999999999999999h",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
