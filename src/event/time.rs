//! Wall clock times as RFC 3339 in UTC with nine digits: `2026-02-03T04:05:06.000000007Z`.
//!
//! Written for every event, so by hand: a calendar library takes longer than the
//! rest of the event's JSON.

use std::time::{Duration, SystemTime};

/// The last second of the year 9999.
const LAST: u64 = 253_402_300_799;

/// Appends the text of `time`. Times outside the years 1970 to 9999 are their bound.
pub fn push(text: &mut String, time: SystemTime) {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = since.as_secs().min(LAST);
    let (year, month, day) = civil(seconds / 86_400);
    let of_day = seconds % 86_400;
    digits(text, year, 4, "-");
    digits(text, month, 2, "-");
    digits(text, day, 2, "T");
    digits(text, of_day / 3600, 2, ":");
    digits(text, of_day / 60 % 60, 2, ":");
    digits(text, of_day % 60, 2, ".");
    digits(text, u64::from(since.subsec_nanos()), 9, "Z");
}

/// Reads any RFC 3339 time of the years 1970 to 9999.
pub fn read(text: &str) -> Option<SystemTime> {
    let stamp: jiff::Timestamp = text.parse().ok()?;
    let seconds = u64::try_from(stamp.as_second()).ok()?;
    let nanos = u32::try_from(stamp.subsec_nanosecond()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanos))
}

fn digits(text: &mut String, value: u64, width: u32, end: &str) {
    for place in (0..width).rev() {
        let digit = value / 10u64.pow(place) % 10;
        text.push(char::from(b'0' + digit as u8));
    }
    text.push_str(end);
}

/// Year, month and day of a day since 1970-01-01. Counts in eras of 400 years that
/// begin on the first of March, so that the leap day is the last of its year.
fn civil(day: u64) -> (u64, u64, u64) {
    let day = day + 719_468;
    let era = day / 146_097;
    let of_era = day % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, of_year - (153 * month_from_march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(seconds: u64, nanos: u32) -> String {
        let mut text = String::new();
        push(
            &mut text,
            SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos),
        );
        text
    }

    #[test]
    fn examples() {
        assert_eq!(text(0, 0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(text(951_782_400, 7), "2000-02-29T00:00:00.000000007Z");
        assert_eq!(text(LAST, 999_999_999), "9999-12-31T23:59:59.999999999Z");
        assert_eq!(text(LAST + 1, 0), "9999-12-31T23:59:59.000000000Z");
    }

    proptest! {
        #[test]
        fn as_jiff_and_back(seconds in 0..LAST - 100_000, nanos in 0u32..1_000_000_000) {
            let stamp = jiff::Timestamp::new(seconds as i64, nanos as i32).unwrap();
            prop_assert_eq!(text(seconds, nanos), format!("{stamp:.9}"));
            let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
            prop_assert_eq!(read(&text(seconds, nanos)), Some(time));
        }
    }
}
