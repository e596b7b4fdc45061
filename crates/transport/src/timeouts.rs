//! How long to wait for what.

use core::time::Duration;

use certwright_cert_model::GoDuration;

/// The waits of a transport; `None` is without limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// Until a connection is made: name resolution, TCP and TLS together.
    pub dial: Option<Duration>,
    /// From the end of the request, body included, to the response's headers.
    pub response_header: Option<Duration>,
    /// Until a connection without requests is closed.
    pub idle_conn: Option<Duration>,
    /// Without any frame on an HTTP/2 connection, until it is pinged; `None` sends no pings.
    pub read_idle: Option<Duration>,
    /// From a ping to its answer; `None` stands for Go's 15 s.
    pub ping: Option<Duration>,
    /// For the TLS handshake, within the time of the whole dial; no field sets it.
    pub tls_handshake: Option<Duration>,
    /// Between probes of an idle TCP connection; no field sets it.
    pub tcp_keep_alive: Option<Duration>,
    /// For an answer to `Expect: 100-continue`, for clients that wait for one, which hyper does not; no field
    /// sets it.
    pub expect_continue: Option<Duration>,
}

impl Default for Timeouts {
    /// Traefik's: dial 30 s, idle 90 s, ping 15 s, handshake 10 s, probes every 30 s, 100-continue 1 s.
    fn default() -> Self {
        Self {
            dial: Some(Duration::from_secs(30)),
            response_header: None,
            idle_conn: Some(Duration::from_secs(90)),
            read_idle: None,
            ping: Some(Duration::from_secs(15)),
            tls_handshake: Some(Duration::from_secs(10)),
            tcp_keep_alive: Some(Duration::from_secs(30)),
            expect_continue: Some(Duration::from_secs(1)),
        }
    }
}

/// Reads a Go duration, or whole seconds; zero stands for no limit.
pub(crate) fn parse(text: &str) -> Result<Option<Duration>, String> {
    let nanos = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        text.parse::<i64>()
            .ok()
            .and_then(|seconds| seconds.checked_mul(1_000_000_000))
            .ok_or_else(|| format!("{text} seconds are more than a duration holds"))?
    } else {
        text.parse::<GoDuration>()
            .map_err(|error| format!("{text:?}: {error}"))?
            .as_nanos()
    };
    match u64::try_from(nanos) {
        Ok(0) => Ok(None),
        Ok(nanos) => Ok(Some(Duration::from_nanos(nanos))),
        Err(_) => Err(format!("{text} is negative; write 0 for no limit")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        for (text, wanted) in [
            ("42", Ok(Some(Duration::from_secs(42)))),
            ("42s", Ok(Some(Duration::from_secs(42)))),
            ("42ms", Ok(Some(Duration::from_millis(42)))),
            ("1m30s", Ok(Some(Duration::from_secs(90)))),
            ("0", Ok(None)),
            ("0s", Ok(None)),
            ("-1s", Err("-1s is negative; write 0 for no limit")),
            (
                "99999999999999",
                Err("99999999999999 seconds are more than a duration holds"),
            ),
        ] {
            assert_eq!(parse(text), wanted.map_err(str::to_owned), "{text}");
        }
        for bad in ["", "s", "1d", "1h30", "soon", "1 s", "-1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
