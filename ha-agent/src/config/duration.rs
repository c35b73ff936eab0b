//! Durations as they are written: a number and a unit, `"100ms"`, `"1.5s"`, `"2m"`.

use std::fmt;
use std::time::Duration;

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDuration {
    /// No digits in front.
    #[error("starts with a number, like 1s")]
    NoNumber,
    /// A number alone.
    #[error("needs a unit: ms, s or m")]
    NoUnit,
    /// Another unit.
    #[error("has the unit ms, s or m, not {0:?}")]
    Unit(String),
    /// More than a nanosecond can hold, or too many digits.
    #[error("is too large or too fine a number")]
    Digits,
}

/// Reads a duration, exactly: there is no floating point on the way.
///
/// # Errors
/// What is wrong with the text, as the end of a sentence that begins with "a duration".
pub fn parse(text: &str) -> Result<Duration, BadDuration> {
    let text = text.trim();
    let digits = |s: &str| s.find(|c: char| !c.is_ascii_digit()).unwrap_or(s.len());
    let (whole, rest) = text.split_at(digits(text));
    if whole.is_empty() {
        return Err(BadDuration::NoNumber);
    }
    let (fraction, unit) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(digits(rest)),
        None => ("", rest),
    };
    let nanos_per_unit: u64 = match unit.trim_start() {
        "" => return Err(BadDuration::NoUnit),
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        other => return Err(BadDuration::Unit(other.to_owned())),
    };
    let nanos = || {
        let whole = whole.parse::<u64>().ok()?.checked_mul(nanos_per_unit)?;
        if fraction.is_empty() {
            return Some(whole);
        }
        let scale = 10_u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let part = fraction.parse::<u64>().ok()?.checked_mul(nanos_per_unit)?;
        (part % scale == 0).then(|| whole.checked_add(part / scale))?
    };
    nanos().map(Duration::from_nanos).ok_or(BadDuration::Digits)
}

/// A duration as it would be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written(pub Duration);

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        let (unit, name) = if nanos >= 1_000_000_000 || nanos == 0 {
            (1_000_000_000, "s")
        } else {
            (1_000_000, "ms")
        };
        write!(f, "{}", nanos / unit)?;
        let mut part = nanos % unit;
        let mut scale = unit / 10;
        if part != 0 {
            f.write_str(".")?;
        }
        while part != 0 {
            write!(f, "{}", part / scale)?;
            part %= scale;
            scale /= 10;
        }
        f.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_a_unit() {
        for (text, nanos, written) in [
            ("10ms", 10_000_000, "10ms"),
            ("1s", 1_000_000_000, "1s"),
            ("1.5s", 1_500_000_000, "1.5s"),
            ("0.05 s", 50_000_000, "50ms"),
            ("40.95s", 40_950_000_000, "40.95s"),
            ("2m", 120_000_000_000, "120s"),
            ("0s", 0, "0s"),
            ("0.000001ms", 1, "0.000001ms"),
        ] {
            let parsed = parse(text).unwrap();
            assert_eq!(parsed, Duration::from_nanos(nanos), "{text}");
            assert_eq!(Written(parsed).to_string(), written);
        }
    }

    #[test]
    fn everything_else_says_what_is_missing() {
        for (text, error) in [
            ("", BadDuration::NoNumber),
            ("-1s", BadDuration::NoNumber),
            ("fast", BadDuration::NoNumber),
            ("1", BadDuration::NoUnit),
            ("1.", BadDuration::NoUnit),
            ("1h", BadDuration::Unit("h".to_owned())),
            ("1sec", BadDuration::Unit("sec".to_owned())),
            ("1.2.3s", BadDuration::Unit(".3s".to_owned())),
            ("99999999999999999999s", BadDuration::Digits),
            ("18446744073709551615m", BadDuration::Digits),
            ("0.0000000001s", BadDuration::Digits),
            ("0.00000000000000000000000001s", BadDuration::Digits),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }
}
