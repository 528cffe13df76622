//! In which formats a model fits this device, as the settings show it, and what is offered where the chosen one does not. Knows
//! no browser: the numbers are the server's, the decision is `msao_planner::fitting`.

use msao_planner::fitting::{
    Candidate, DeviceLimits, Format, FormatNeeds, Obstacle, fits_beside, offer_instead,
};

use crate::{
    format,
    offered::{OfferedModel, OfferedSpeech},
};

/// A format in the list to choose from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatChoice {
    /// Empty for as it is stored, else the format's name.
    pub value: String,
    /// What it takes, and why it cannot be chosen if that is so.
    pub label: String,
    /// It fits.
    pub fits: bool,
}

/// What would fit instead of what was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instead {
    /// On the button.
    pub label: String,
    /// Folder of the model.
    pub folder: String,
    /// How its weights are to be kept; `None` as they are stored.
    pub format: Option<Format>,
}

/// A choice that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// What is wrong.
    pub words: String,
    /// What would fit, the nearest first.
    pub instead: Vec<Instead>,
}

/// `f16: 0.6 GB of memory`, for people.
pub fn name(format: Format) -> &'static str {
    match format {
        Format::F32 => "32-bit (f32)",
        Format::F16 => "16-bit (f16)",
        Format::Int8 => "8-bit (int8)",
        Format::Q4 => "4-bit (q4)",
    }
}

/// What a format costs in accuracy, as measured on the shipped pair (models/README.md).
pub fn accuracy(format: Format) -> &'static str {
    match format {
        Format::F32 => "Nothing is rounded.",
        Format::F16 => {
            "The same answers where the weights were published in 16 bits, else hardly different ones."
        }
        Format::Int8 => {
            "Of 29 answers of each shipped model, all 29 stayed the same (KL 4e-6 and 2e-4 nats a token)."
        }
        Format::Q4 => {
            "Of 29 answers, the larger shipped model's all stayed the same (KL 4e-4 nats a token), of the smaller one's 24 (0.03): the smaller a model, the more it loses."
        }
    }
}

/// The formats of a model, as stored first.
pub fn choices(model: &OfferedModel, limits: &DeviceLimits) -> Vec<FormatChoice> {
    let choice = |(index, needs): (usize, &FormatNeeds)| {
        let memory = format::bytes(needs.peak_bytes);
        let why = match needs.obstacle(limits) {
            None => String::new(),
            Some(Obstacle::Total) => {
                format!(", too much: this tab has {}", format::bytes(limits.total_bytes))
            }
            Some(Obstacle::Buffer) => {
                format!(", a part of {} is too large for this GPU", format::bytes(needs.largest_tensor_bytes))
            }
        };
        let stored = if index == 0 { "As stored, " } else { "" };
        FormatChoice {
            value: if index == 0 { String::new() } else { needs.format.name().to_owned() },
            label: format!("{stored}{}: {memory}{why}", name(needs.format)),
            fits: why.is_empty(),
        }
    };
    model.memory.iter().enumerate().map(choice).collect()
}

/// What a choice that does not fit beside a speech model of so many bytes, 0 without one, is answered with; `None` where it fits or nothing is
/// known.
pub fn misfit(
    chosen: &OfferedModel,
    format: Option<Format>,
    (limits, speech_bytes): (&DeviceLimits, u64),
    offered: &[OfferedModel],
) -> Option<Misfit> {
    let limits = &limits.beside(speech_bytes);
    let candidate = candidate(chosen);
    let others: Vec<Candidate<'_>> =
        offered.iter().filter(|model| model.problem.is_none()).map(self::candidate).collect();
    let offer = offer_instead(&candidate, format, limits, &others)?;
    let needs = candidate.needs(format)?;
    let memory = |needs: &FormatNeeds| format::bytes(needs.peak_bytes);
    let same = offer.format.map(|fits| Instead {
        label: format!("Use {}: {}", name(fits.format), memory(&fits)),
        folder: chosen.folder(),
        format: Some(fits.format),
    });
    let smaller = offer.model.and_then(|(name, fits)| {
        let model = offered.iter().find(|model| model.name == name)?;
        let as_stored = model.memory.first().is_some_and(|stored| stored.format == fits.format);
        let (format, words) = if as_stored {
            (None, String::new())
        } else {
            (Some(fits.format), format!(" as {}", self::name(fits.format)))
        };
        Some(Instead {
            label: format!("Use {name}{words}: {}", memory(&fits)),
            folder: model.folder(),
            format,
        })
    });
    let limit = match needs.obstacle(limits)? {
        Obstacle::Total if speech_bytes > 0 => {
            format!("this tab has {} left beside the speech model", format::bytes(limits.total_bytes))
        }
        Obstacle::Total => format!("this tab has {}", format::bytes(limits.total_bytes)),
        Obstacle::Buffer => format!(
            "this GPU allows buffers of {}, and a part of it takes {}",
            format::bytes(limits.buffer_bytes.unwrap_or_default()),
            format::bytes(needs.largest_tensor_bytes)
        ),
    };
    let words = format!("{} needs {} as {}; {limit}.", chosen.name, memory(needs), name(needs.format));
    Some(Misfit { words, instead: same.into_iter().chain(smaller).collect() })
}

/// Why the speech model cannot be had beside the model that answers here, and what helps; `None` where both fit or nothing is known.
pub fn speech_misfit(
    speech: &OfferedSpeech,
    format: Option<Format>,
    limits: &DeviceLimits,
    beside: Option<&OfferedModel>,
) -> Option<String> {
    let own = speech.memory_from(format);
    let others = beside.map_or(&[][..], |model| {
        let first = model.memory.iter().position(|needs| Some(needs.format) == format);
        &model.memory[first.unwrap_or_default()..]
    });
    // It runs on the processor, whatever the other one runs on.
    let limits = DeviceLimits { buffer_bytes: None, ..*limits };
    let fitting = fits_beside(others, own, &limits).err()?;
    let needed = format::bytes(own.first()?.peak_bytes);
    let there = match (beside, others.first()) {
        (Some(model), Some(taken)) => {
            let left = limits.beside(taken.peak_bytes).total_bytes;
            format!("this tab has {} left beside {}", format::bytes(left), model.name)
        }
        _ => format!("this tab has {}", format::bytes(limits.total_bytes)),
    };
    let help = match (fitting, others.is_empty()) {
        (Some(format), false) => format!("choose {} weights, or a smaller model", name(format)),
        (Some(format), true) => format!("choose {} weights", name(format)),
        (None, false) => "choose a smaller model, or ask for a smaller speech model on the server".to_owned(),
        (None, true) => "ask for a smaller speech model on the server".to_owned(),
    };
    Some(format!("{} needs {needed} of memory, and {there}; {help}", speech.name))
}

fn candidate(model: &OfferedModel) -> Candidate<'_> {
    Candidate { name: &model.name, parameters: model.parameters, formats: &model.memory }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str, parameters: u64, formats: &[(Format, u64)]) -> OfferedModel {
        let memory = formats.iter().map(|&(format, megabytes)| FormatNeeds {
            format,
            weights_bytes: megabytes * 900_000,
            kv_bytes: 0,
            activations_bytes: 0,
            peak_bytes: megabytes * 1_000_000,
            largest_tensor_bytes: megabytes * 100_000,
        });
        OfferedModel {
            name: name.to_owned(),
            parameters,
            memory: memory.collect(),
            ..OfferedModel::default()
        }
    }

    fn offered() -> Vec<OfferedModel> {
        vec![
            model(
                "500M",
                500,
                &[(Format::F32, 2_100), (Format::F16, 1_100), (Format::Int8, 700), (Format::Q4, 500)],
            ),
            model("256M", 256, &[(Format::F32, 1_200), (Format::Q4, 300)]),
            model("pocket", 1, &[(Format::F32, 60)]),
        ]
    }

    fn tab(gib: f64) -> DeviceLimits {
        DeviceLimits::of_tab(Some(gib), None)
    }

    #[test]
    fn what_does_not_fit_is_shown_with_the_reason() {
        let choices = choices(&offered()[0], &tab(2.0));
        let fits: Vec<bool> = choices.iter().map(|choice| choice.fits).collect();
        assert_eq!(fits, [false, false, true, true]);
        assert_eq!((choices[0].value.as_str(), choices[3].value.as_str()), ("", "q4"));
        assert!(choices[0].label.contains("2.1 GB, too much: this tab has 1.1 GB"), "{}", choices[0].label);
        assert_eq!(choices[3].label, "4-bit (q4): 500.0 MB");
    }

    #[test]
    fn a_smaller_format_and_a_smaller_model_are_a_button_each() {
        let models = offered();
        assert_eq!(misfit(&models[0], None, (&tab(8.0), 0), &models), None);
        let found = misfit(&models[0], None, (&tab(1.5), 0), &models).unwrap();
        assert!(
            found.words.contains("500M needs 2.1 GB as 32-bit (f32); this tab has 805.3 MB"),
            "{}",
            found.words
        );
        let [format, model] = &found.instead[..] else { panic!("two are offered: {found:?}") };
        assert_eq!((format.folder.as_str(), format.format), ("weights/500M/", Some(Format::Int8)));
        assert_eq!((model.folder.as_str(), model.format), ("weights/256M/", Some(Format::Q4)));
        assert!(model.label.contains("256M as 4-bit (q4): 300.0 MB"), "{}", model.label);
        let found = misfit(&models[1], Some(Format::Q4), (&tab(0.25), 0), &models).unwrap();
        assert_eq!(found.instead.len(), 1);
        assert_eq!((found.instead[0].folder.as_str(), found.instead[0].format), ("weights/pocket/", None));
    }

    #[test]
    fn a_speech_model_and_the_model_that_answers_share_the_tab() {
        let models = offered();
        let found = misfit(&models[1], None, (&tab(2.5), 300_000_000), &models).unwrap();
        assert!(found.words.contains("has 1.0 GB left beside the speech model"), "{}", found.words);
        assert_eq!(misfit(&models[1], None, (&tab(2.5), 0), &models), None);

        let memory = model("", 0, &[(Format::F32, 300), (Format::F16, 200), (Format::Q4, 120)]).memory;
        let speech = OfferedSpeech { name: "whisper-tiny".to_owned(), memory, ..OfferedSpeech::default() };
        let refused = |format, gib, beside| speech_misfit(&speech, format, &tab(gib), beside);
        assert_eq!(refused(None, 3.0, Some(&models[1])), None);
        let words = refused(None, 2.5, Some(&models[1])).unwrap();
        for told in
            ["whisper-tiny needs 300.0 MB", "142.2 MB left beside 256M", "choose 16-bit (f16) weights"]
        {
            assert!(words.contains(told), "no `{told}` in: {words}");
        }
        assert_eq!(refused(Some(Format::Q4), 2.5, Some(&models[1])), None);
        let words = refused(Some(Format::Q4), 0.75, Some(&models[1])).unwrap();
        assert!(words.contains("a smaller model, or ask"), "{words}");
        assert!(refused(None, 0.2, None).unwrap().ends_with("ask for a smaller speech model on the server"));
        let unknown = OfferedSpeech::default();
        assert_eq!(speech_misfit(&unknown, None, &tab(0.1), Some(&models[0])), None);
    }

    #[test]
    fn models_of_which_nothing_is_known_are_left_alone() {
        let unknown = OfferedModel { name: "mine".to_owned(), ..OfferedModel::default() };
        assert_eq!(misfit(&unknown, None, (&tab(0.1), 0), &offered()), None);
        assert!(choices(&unknown, &tab(0.1)).is_empty());
    }
}
