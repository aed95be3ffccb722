//! Durations as tables write them: `200ms`, `2s`, `5m`, `1h`.
//!
//! One number and one unit: a bare `2` would be seconds to one reader and
//! milliseconds to another.

use std::time::Duration;

/// No option takes more: 366 days. It keeps every later sum far from overflow.
pub const MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// Why a text is not a duration. The message says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// No digits at its start.
    #[error("a duration is a number and a unit, such as `200ms`, `2s`, `5m` or `1h`")]
    Shape,
    /// Digits only.
    #[error("the unit is missing: `{0}ms`, `{0}s`, `{0}m` or `{0}h`")]
    NoUnit(u64),
    /// It begins with a minus.
    #[error("a duration is not negative")]
    Negative,
    /// More than [`MAX`].
    #[error("the longest duration is 8784h (366 days)")]
    TooLong,
}

/// Reads a duration.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    if text.starts_with('-') {
        return Err(DurationError::Negative);
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(DurationError::Shape);
    }
    let number: u64 = number.parse().map_err(|_| DurationError::TooLong)?;
    let per_unit = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "" => return Err(DurationError::NoUnit(number)),
        _ => return Err(DurationError::Shape),
    };
    let millis = number.checked_mul(per_unit).ok_or(DurationError::TooLong)?;
    let duration = Duration::from_millis(millis);
    if duration > MAX {
        Err(DurationError::TooLong)
    } else {
        Ok(duration)
    }
}

/// The shortest text that [`parse`] reads back as `duration`, to the millisecond.
pub fn text(duration: Duration) -> String {
    let millis = duration.as_millis();
    match millis {
        0 => "0s".into(),
        m if m % 3_600_000 == 0 => format!("{}h", m / 3_600_000),
        m if m % 60_000 == 0 => format!("{}m", m / 60_000),
        m if m % 1000 == 0 => format!("{}s", m / 1000),
        m => format!("{m}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units() {
        assert_eq!(parse("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(parse("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(parse("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(parse("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn refusals_say_why() {
        assert_eq!(parse("2"), Err(DurationError::NoUnit(2)));
        assert_eq!(parse("-2s"), Err(DurationError::Negative));
        assert_eq!(parse("s"), Err(DurationError::Shape));
        assert_eq!(parse(""), Err(DurationError::Shape));
        assert_eq!(parse("2 s"), Err(DurationError::Shape));
        assert_eq!(parse("2S"), Err(DurationError::Shape));
        assert_eq!(parse("9999h"), Err(DurationError::TooLong));
        assert_eq!(parse("99999999999999999999s"), Err(DurationError::TooLong));
        assert_eq!(parse("18446744073709551615h"), Err(DurationError::TooLong));
    }

    proptest! {
        #[test]
        fn text_reads_back(millis in 0u64..=31_622_400_000) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse(&text(duration)), Ok(duration));
        }

        #[test]
        fn total(text in ".*") {
            let _ = parse(&text);
        }
    }
}
