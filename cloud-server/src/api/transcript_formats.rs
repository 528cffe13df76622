//! A transcript as OpenAI's clients and players read it.

use std::fmt::Write as _;

use actix_web::HttpResponse;
use actix_web::http::header::ContentType;
use msao_models::speech::{Segment, Transcript, name_of};
use serde_json::{Value, json};

use super::transcription_form::Format;

/// The answer in a format; `task` is OpenAI's word for what was done.
pub(super) fn respond(transcript: &Transcript, format: Format, task: &str) -> HttpResponse {
    let plain = |text: String| HttpResponse::Ok().insert_header(ContentType::plaintext()).body(text);
    match format {
        Format::Json => HttpResponse::Ok().json(json!({
            "text": transcript.text(),
            "usage": usage(transcript),
        })),
        Format::VerboseJson => HttpResponse::Ok().json(verbose(transcript, task)),
        Format::Text => plain(transcript.text() + "\n"),
        Format::Srt => plain(srt(transcript)),
        Format::Vtt => HttpResponse::Ok().content_type("text/vtt; charset=utf-8").body(vtt(transcript)),
    }
}

fn usage(transcript: &Transcript) -> Value {
    json!({"type": "duration", "seconds": transcript.duration_s.ceil()})
}

fn verbose(transcript: &Transcript, task: &str) -> Value {
    let segments: Vec<Value> = spoken(transcript)
        .enumerate()
        .map(|(id, segment)| {
            json!({
                "id": id,
                // In frames of 10 ms, as OpenAI's.
                "seek": (segment.window_s * 100.0).round() as u64,
                "start": segment.start_s,
                "end": segment.end_s,
                "text": segment.text,
                "tokens": segment.tokens,
                "temperature": segment.temperature,
                "avg_logprob": segment.avg_logprob,
                "compression_ratio": segment.compression_ratio,
                "no_speech_prob": segment.no_speech_prob,
            })
        })
        .collect();
    json!({
        "task": task,
        "language": name_of(&transcript.language).unwrap_or(&transcript.language),
        "language_probability": transcript.language_probability,
        "confidence": transcript.confidence(),
        "duration": transcript.duration_s,
        "text": transcript.text(),
        "segments": segments,
        "usage": usage(transcript),
    })
}

/// Segments with words, which is what players show.
fn spoken(transcript: &Transcript) -> impl Iterator<Item = &Segment> {
    transcript.segments.iter().filter(|segment| !segment.text.trim().is_empty())
}

fn srt(transcript: &Transcript) -> String {
    let mut text = String::new();
    for (index, segment) in spoken(transcript).enumerate() {
        let (start, end) = (clock(segment.start_s, ','), clock(segment.end_s, ','));
        // Writing to a string does not fail.
        let _ = write!(text, "{}\n{start} --> {end}\n{}\n\n", index + 1, line(&segment.text, "->"));
    }
    text
}

fn vtt(transcript: &Transcript) -> String {
    let mut text = "WEBVTT\n\n".to_owned();
    for segment in spoken(transcript) {
        let (start, end) = (clock(segment.start_s, '.'), clock(segment.end_s, '.'));
        // As above.
        let _ = write!(text, "{start} --> {end}\n{}\n\n", line(&segment.text, "->"));
    }
    text
}

/// One line of text, in which nothing looks like a line of times.
fn line(text: &str, arrow: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace(&format!("-{arrow}"), arrow)
}

/// `hours:minutes:seconds`, with milliseconds behind a sign of the format's.
fn clock(seconds: f64, sign: char) -> String {
    let ms = (seconds * 1_000.0).round().max(0.0) as u64;
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    format!("{hours:02}:{minutes:02}:{:02}{sign}{:03}", ms / 1_000 % 60, ms % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript() -> Transcript {
        let segment = |start_s, end_s, text: &str| Segment {
            start_s,
            end_s,
            text: text.to_owned(),
            tokens: vec![1],
            window_s: 0.0,
            temperature: 0.0,
            avg_logprob: 0.5_f32.ln(),
            compression_ratio: 1.0,
            no_speech_prob: 0.0,
        };
        let segments = vec![
            segment(0.0, 1.5, " Hello"),
            segment(1.5, 1.6, " "),
            segment(1.6, 3_661.04, " over\n\nthere --> now"),
        ];
        Transcript {
            language: "de".to_owned(),
            language_probability: 1.0,
            duration_s: 4.2,
            segments,
            windows: 1,
            tokens_written: 3,
        }
    }

    #[test]
    fn players_get_one_line_a_segment_and_no_other_times() {
        assert_eq!(
            srt(&transcript()),
            "1\n00:00:00,000 --> 00:00:01,500\nHello\n\n2\n00:00:01,600 --> 01:01:01,040\nover there -> now\n\n"
        );
        assert!(vtt(&transcript()).starts_with("WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nHello\n\n"));
    }

    #[test]
    fn the_long_form_tells_language_and_confidence() {
        let found = verbose(&transcript(), "transcribe");
        assert_eq!((&found["language"], &found["task"]), (&json!("german"), &json!("transcribe")));
        assert!((found["confidence"].as_f64().unwrap() - 0.5).abs() < 1e-6);
        assert_eq!(found["segments"].as_array().unwrap().len(), 2);
        assert_eq!(found["usage"]["seconds"], 5.0);
    }
}
