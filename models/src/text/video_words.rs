//! What SmolVLM2's prompts say about a video, as `SmolVLMProcessor` writes it.

/// What stands before the frames of a video.
pub(super) fn intro(num_frames: usize, duration_s: f64) -> String {
    let (frames, duration) = (in_words(num_frames), clock(duration_s));
    format!("You are provided the following series of {frames} frames from a {duration} [H:MM:SS] video.\n")
}

/// What stands before a frame.
pub(super) fn before_frame(time_s: f64) -> String {
    let seconds = time_s.max(0.0) as u64;
    format!("\nFrame from {:02}:{:02}:", seconds / 60, seconds % 60)
}

/// What stands behind the frames.
pub(super) const OUTRO: &str = "\n\n";

/// `1 day, 2:03:04`, as Python writes a time span of whole seconds.
fn clock(duration_s: f64) -> String {
    const DAY_S: u64 = 86_400;
    let seconds = duration_s.max(0.0) as u64;
    let (days, rest) = (seconds / DAY_S, seconds % DAY_S);
    let clock = format!("{}:{:02}:{:02}", rest / 3_600, rest / 60 % 60, rest % 60);
    match days {
        0 => clock,
        1 => format!("1 day, {clock}"),
        _ => format!("{days} days, {clock}"),
    }
}

/// A number in English words, as num2words writes it; figures from a thousand on, which no prompt has.
fn in_words(number: usize) -> String {
    const SMALL: [&str; 20] = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
    ];
    const TENS: [&str; 10] =
        ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
    match number {
        0..20 => SMALL[number].to_owned(),
        20..100 if number.is_multiple_of(10) => TENS[number / 10].to_owned(),
        20..100 => format!("{}-{}", TENS[number / 10], SMALL[number % 10]),
        100..1_000 if number.is_multiple_of(100) => format!("{} hundred", SMALL[number / 100]),
        100..1_000 => format!("{} hundred and {}", SMALL[number / 100], in_words(number % 100)),
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_num2words_writes_them() {
        let cases = [
            (1, "one"),
            (20, "twenty"),
            (64, "sixty-four"),
            (100, "one hundred"),
            (321, "three hundred and twenty-one"),
        ];
        for (number, words) in cases {
            assert_eq!(in_words(number), words);
        }
    }

    #[test]
    fn times_are_written_as_python_writes_them() {
        assert_eq!((clock(0.9), clock(3_725.0)), ("0:00:00".to_owned(), "1:02:05".to_owned()));
        assert_eq!(
            (clock(86_400.0), clock(200_000.0)),
            ("1 day, 0:00:00".to_owned(), "2 days, 7:33:20".to_owned())
        );
        assert_eq!(before_frame(125.9), "\nFrame from 02:05:");
    }
}
