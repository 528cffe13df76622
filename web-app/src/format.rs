//! Numbers as people read them.

/// Bytes in decimal units: `0 B`, `812 B`, `12.3 kB`, `2.9 MB`.
pub fn bytes(count: u64) -> String {
    let value = count as f64;
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{:.1} kB", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", value / 1e6),
        _ => format!("{:.1} GB", value / 1e9),
    }
}

/// Progress of a download: `1.2 of 2.9 MB`, or what has come where the total is unknown.
pub fn progress(done: u64, total: Option<u64>) -> String {
    match total {
        Some(total) if total >= 1_000_000 => format!("{:.1} of {}", done as f64 / 1e6, bytes(total)),
        Some(total) => format!("{} of {}", bytes(done), bytes(total)),
        None => bytes(done),
    }
}

/// A duration: `84 ms`, `1.25 s`.
pub fn duration_ms(ms: f64) -> String {
    if ms < 999.5 { format!("{ms:.0} ms") } else { format!("{:.2} s", ms / 1e3) }
}

/// A length of time in seconds: `4.8 s`, `10 min 0 s`.
pub fn seconds(s: f64) -> String {
    if s < 60.0 {
        format!("{s:.1} s")
    } else {
        let whole = s.round() as u64;
        format!("{} min {} s", whole / 60, whole % 60)
    }
}

/// The same to be spoken: `4.8 seconds`, `10 minutes`.
pub fn seconds_in_words(s: f64) -> String {
    let (count, unit) = if s < 100.0 { (s, "second") } else { (s / 60.0, "minute") };
    let tenths = (count * 10.0).round() / 10.0;
    format!("{tenths} {unit}{}", if tenths == 1.0 { "" } else { "s" })
}

/// A time that is only guessed, in whole seconds or minutes, rounded up: `4 s`, `3 min`.
pub fn rough_seconds(s: f64) -> String {
    let whole = s.max(0.0).ceil() as u64;
    if whole < 100 { format!("{whole} s") } else { format!("{} min", whole.div_ceil(60)) }
}

/// Decoding speed in tokens a second: `212`, `8.4`.
pub fn tokens_per_s(rate: f64) -> String {
    if rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

/// Operations in billions, to two digits where they are few: `0.042 GFLOP`, `1.3 GFLOP`.
pub fn operations(count: u64) -> String {
    let billions = count as f64 / 1e9;
    match billions {
        0.0 => "none".to_owned(),
        ..0.1 => format!("{billions:.3} GFLOP"),
        ..10.0 => format!("{billions:.2} GFLOP"),
        _ => format!("{billions:.0} GFLOP"),
    }
}

/// Operations that were saved; negative where more were spent: `0.42 GFLOP`, `none`, `none, 0.12 GFLOP more`.
pub fn saved_operations(count: i64) -> String {
    let size = operations(count.unsigned_abs());
    if count < 0 { format!("none, {size} more") } else { size }
}

/// How much was sent of what could have been: `nothing of 36.0 kB`, `1.8 kB of 36.0 kB`, `all 36.0 kB`.
pub fn sent_of(sent: u64, whole: u64) -> String {
    let (part, all) = (bytes(sent), bytes(whole));
    match sent {
        0 => format!("nothing of {all}"),
        _ if part == all => format!("all {all}"),
        _ => format!("{part} of {all}"),
    }
}

/// Number of weights: `0.9 M`, `14 M`.
pub fn parameters(count: u64) -> String {
    let millions = count as f64 / 1e6;
    if millions < 10.0 { format!("{millions:.1} M") } else { format!("{millions:.0} M") }
}

/// A number of things: `1 question`, `7 questions`.
pub fn count(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// A probability: `97 %`; never `100 %` for less than certainty, nor `0 %` for more than none.
pub fn probability(p: f32) -> String {
    let percent = (f64::from(p) * 100.0).clamp(0.0, 100.0);
    if percent > 99.0 && percent < 100.0 {
        "over 99 %".to_owned()
    } else if percent > 0.0 && percent < 1.0 {
        "under 1 %".to_owned()
    } else {
        format!("{percent:.0} %")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_change_units() {
        assert_eq!(
            [0, 999, 1_000, 12_345, 2_900_000, 3_000_000_000].map(bytes),
            ["0 B", "999 B", "1.0 kB", "12.3 kB", "2.9 MB", "3.0 GB"]
        );
    }

    #[test]
    fn all_and_nothing_are_said_in_words() {
        let of_39_kb = |sent| sent_of(sent, 38_941);
        assert_eq!(of_39_kb(0), "nothing of 38.9 kB");
        assert_eq!(of_39_kb(1_800), "1.8 kB of 38.9 kB");
        assert_eq!([38_941, 38_899].map(of_39_kb), ["all 38.9 kB"; 2], "what reads the same is the same");
        assert_eq!(of_39_kb(40_000), "40.0 kB of 38.9 kB");
    }

    #[test]
    fn progress_says_the_unit_once() {
        assert_eq!(progress(1_200_000, Some(2_900_000)), "1.2 of 2.9 MB");
        assert_eq!(progress(1_200, None), "1.2 kB");
    }

    #[test]
    fn durations_round_across_the_unit() {
        assert_eq!([4.4, 999.4, 999.6, 1_254.0].map(duration_ms), ["4 ms", "999 ms", "1.00 s", "1.25 s"]);
        assert_eq!([4.8, 600.0].map(seconds), ["4.8 s", "10 min 0 s"]);
        assert_eq!(
            [4.8, 30.0, 1.0, 90.0, 600.0].map(seconds_in_words),
            ["4.8 seconds", "30 seconds", "1 second", "90 seconds", "10 minutes"]
        );
    }

    #[test]
    fn a_guessed_time_promises_no_fractions() {
        assert_eq!(
            [0.0, 0.2, 41.5, 100.0, 3_000.0].map(rough_seconds),
            ["0 s", "1 s", "42 s", "2 min", "50 min"]
        );
    }

    #[test]
    fn near_certainty_is_not_called_certain() {
        assert_eq!([1.0, 0.999, 0.5, 0.001].map(probability), ["100 %", "over 99 %", "50 %", "under 1 %"]);
    }

    #[test]
    fn one_thing_is_not_many() {
        assert_eq!([0, 1, 2].map(|number| count(number, "token")), ["0 tokens", "1 token", "2 tokens"]);
    }

    #[test]
    fn few_operations_keep_their_digits() {
        assert_eq!(
            [0, 42_000_000, 1_300_000_000, 24_000_000_000].map(operations),
            ["none", "0.042 GFLOP", "1.30 GFLOP", "24 GFLOP"]
        );
        assert_eq!(
            [-1_300_000_000, 0, 420_000_000].map(saved_operations),
            ["none, 1.30 GFLOP more", "none", "0.42 GFLOP"]
        );
    }

    #[test]
    fn speeds_and_sizes_keep_two_digits() {
        assert_eq!([8.44, 212.3].map(tokens_per_s), ["8.4", "212"]);
        assert_eq!([940_000, 14_200_000].map(parameters), ["0.9 M", "14 M"]);
    }
}
