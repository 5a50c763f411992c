//! Times as RFC 3339 text, which dispatcher and CloudEvents write.

const DAY_MS: i64 = 86_400_000;
/// 9999-12-31T23:59:59.999Z: the last one that the text can say.
const LAST_MS: u64 = 253_402_300_799_999;

/// In ms since 1970, UTC, with ms.
pub fn text(at_ms: u64) -> String {
    let at_ms = at_ms.min(LAST_MS) as i64;
    let (year, month, day) = civil(at_ms / DAY_MS);
    let ms = at_ms % DAY_MS;
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1_000)
}

/// In ms since 1970; none where the text is no such time.
pub fn parse(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let number = |from: usize, len: usize| digits(bytes.get(from..from + len)?);
    let is = |at: usize, one_of: &[u8]| bytes.get(at).is_some_and(|it| one_of.contains(it));
    if !(is(4, b"-") && is(7, b"-") && is(10, b"Tt") && is(13, b":") && is(16, b":")) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    // A leap second is the 60th.
    if !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    if !(1..=days_of(year, month)).contains(&day) {
        return None;
    }
    let (fraction_ms, zone) = fraction(&bytes[19..])?;
    let time_ms = ((hour * 60 + minute) * 60 + second) * 1_000 + fraction_ms;
    Some(days(year, month, day) * DAY_MS + time_ms - offset_ms(zone)?)
}

/// Milliseconds, and what stands behind the fraction.
fn fraction(rest: &[u8]) -> Option<(i64, &[u8])> {
    let Some(rest) = rest.strip_prefix(b".") else { return Some((0, rest)) };
    let len = rest.iter().take_while(|it| it.is_ascii_digit()).count();
    if len == 0 {
        return None;
    }
    let (fraction, zone) = rest.split_at(len);
    let ms = (0..3).map(|at| fraction.get(at).map_or(0, |it| i64::from(it - b'0')));
    Some((ms.fold(0, |sum, it| sum * 10 + it), zone))
}

fn offset_ms(zone: &[u8]) -> Option<i64> {
    match zone {
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
            let ms = (hours * 60 + minutes) * 60_000;
            (hours < 24 && minutes < 60).then_some(if *sign == b'-' { -ms } else { ms })
        }
        _ => None,
    }
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |sum, it| it.is_ascii_digit().then(|| sum * 10 + i64::from(it - b'0')))
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970. Years are counted from March, so that the leap day is the last of its year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leaps + (month * 153 + 2) / 5 + day - 1 - 719_468
}

/// Year, month and day of a day since 1970, for days from 1970 on.
fn civil(day: i64) -> (i64, i64, i64) {
    // A guess that is at most a year too late, then the month from the day of the year that began in March.
    let mut year = (day + 719_468) * 400 / 146_097 + 1;
    while days(year, 3, 1) > day {
        year -= 1;
    }
    let of_year = day - days(year, 3, 1);
    let month = (of_year * 5 + 2) / 153;
    let of_month = of_year - (month * 153 + 2) / 5 + 1;
    if month < 10 { (year, month + 3, of_month) } else { (year + 1, month - 9, of_month) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let cases = [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2018-04-05T17:31:00Z", Some(1_522_949_460_000)),
            ("2023-11-14T22:13:20.000Z", Some(1_700_000_000_000)),
            ("2023-11-15T06:13:20.123456789+08:00", Some(1_700_000_000_123)),
            ("2023-11-14T17:43:20.5-04:30", Some(1_700_000_000_500)),
            ("2000-02-29t00:00:00z", Some(951_782_400_000)),
            ("0001-01-01T00:00:00Z", Some(-62_135_596_800_000)),
            ("9999-12-31T23:59:59.999Z", Some(LAST_MS as i64)),
            ("2016-12-31T23:59:60Z", Some(1_483_228_800_000)),
            ("1900-02-29T00:00:00Z", None),
            ("2023-13-01T00:00:00Z", None),
            ("2023-00-01T00:00:00Z", None),
            ("2023-01-00T00:00:00Z", None),
            ("2023-01-01T24:00:00Z", None),
            ("2023-01-01T00:00:00", None),
            ("2023-01-01T00:00:00.Z", None),
            ("2023-01-01T00:00:00+0800", None),
            ("2023-01-01T00:00:00+24:00", None),
            ("2023-01-01 00:00:00Z", None),
            ("2023-01-01", None),
            ("+023-01-01T00:00:00Z", None),
            ("２023-01-01T00:00:00Z", None),
            ("", None),
        ];
        for (text, ms) in cases {
            assert_eq!(parse(text), ms, "{text}");
        }
    }

    #[test]
    fn each_day_until_2100_comes_back() {
        for day in 0..50_000 {
            let ms = day * DAY_MS as u64 + day * 7_919 % DAY_MS as u64;
            assert_eq!(parse(&text(ms)), Some(ms as i64), "{}", text(ms));
        }
        assert_eq!(text(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(text(u64::MAX), "9999-12-31T23:59:59.999Z");
    }
}
