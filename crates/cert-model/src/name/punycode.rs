//! What to write for a name with letters beyond ASCII (RFC 3492).
//!
//! It serves error messages only: labels are lower-cased, but not normalised as UTS 46 asks.

/// The name with A-labels, if its labels are letters, digits, `-` and `_`.
pub(super) fn to_ascii(name: &str) -> Option<String> {
    // Punycode is quadratic, and no longer name can be one.
    if name.len() > 1024 {
        return None;
    }
    let mut labels = Vec::new();
    for label in name.split('.') {
        let label: Vec<char> = label.chars().flat_map(char::to_lowercase).collect();
        if !label
            .iter()
            .all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
        {
            return None;
        }
        labels.push(if label.iter().all(char::is_ascii) {
            label.into_iter().collect()
        } else {
            format!("xn--{}", encode(&label)?)
        });
    }
    Some(labels.join("."))
}

const BASE: u32 = 36;
const TMIN: u32 = 1;
const TMAX: u32 = 26;

fn encode(label: &[char]) -> Option<String> {
    let mut output: String = label.iter().filter(|c| c.is_ascii()).collect();
    let basic = u32::try_from(output.len()).ok()?;
    let (mut handled, mut bias, mut delta, mut next) = (basic, 72, 0_u32, 128_u32);
    if basic > 0 {
        output.push('-');
    }
    while usize::try_from(handled).ok()? < label.len() {
        let larger = label.iter().map(|c| u32::from(*c)).filter(|c| *c >= next);
        let smallest = larger.min()?;
        delta = (smallest - next)
            .checked_mul(handled + 1)
            .and_then(|more| delta.checked_add(more))?;
        next = smallest;
        for c in label.iter().map(|c| u32::from(*c)) {
            if c < next {
                delta = delta.checked_add(1)?;
            }
            if c == next {
                variable_length(delta, bias, &mut output);
                bias = adapt(delta, handled + 1, handled == basic);
                delta = 0;
                handled += 1;
            }
        }
        delta = delta.checked_add(1)?;
        next += 1;
    }
    Some(output)
}

fn variable_length(mut rest: u32, bias: u32, output: &mut String) {
    let mut k = BASE;
    loop {
        let threshold = k.saturating_sub(bias).clamp(TMIN, TMAX);
        if rest < threshold {
            output.push(digit(rest));
            return;
        }
        let step = BASE - threshold;
        let value = threshold + (rest - threshold) % step;
        output.push(digit(value));
        rest = (rest - threshold) / step;
        k += BASE;
    }
}

/// `a` to `z`, then `0` to `9`.
fn digit(value: u32) -> char {
    let value = value.to_le_bytes()[0];
    char::from(match value {
        0..26 => b'a' + value,
        _ => b'0' + (value - 26),
    })
}

fn adapt(delta: u32, points: u32, first: bool) -> u32 {
    let mut delta = if first { delta / 700 } else { delta / 2 };
    delta += delta / points;
    let mut k = 0;
    while delta > (BASE - TMIN) * TMAX / 2 {
        delta /= BASE - TMIN;
        k += BASE;
    }
    k + (BASE - TMIN + 1) * delta / (delta + 38)
}
