//! Which model in which format a device can hold, and what is offered instead of one that it cannot.
//!
//! What a model takes comes in as numbers, made once by whoever has its configuration (`memory_plan.rs` of `msao-models`), so that a page
//! decides without a model's code.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a Wasm engine may take of the 4 GiB that it can address: the rest is lost between what was allocated and given back.
pub const MOST_WASM_BYTES: u64 = 3_200_000_000;
/// Of a machine's memory, the part that a tab can have beside system, browser and other tabs.
const TAB_SHARE: f64 = 0.5;

/// How weights are kept in memory, from the largest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// 4 bytes each.
    F32,
    /// 2 bytes each.
    F16,
    /// 1 byte each.
    Int8,
    /// 4.5 bits each.
    Q4,
}

/// What a model takes in a format, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormatNeeds {
    /// How the weights are kept.
    pub format: Format,
    /// Weights and tables.
    pub weights_bytes: u64,
    /// Keys and values of a long conversation.
    pub kv_bytes: u64,
    /// Buffers of the largest pass.
    pub activations_bytes: u64,
    /// The most at any time, loading included.
    pub peak_bytes: u64,
    /// The largest single tensor, which must fit one buffer on a GPU.
    pub largest_tensor_bytes: u64,
}

/// What a device has, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceLimits {
    /// For everything.
    pub total_bytes: u64,
    /// The largest buffer that a kernel can be given; `None` without a bound, as on a processor.
    pub buffer_bytes: Option<u64>,
}

/// Why a model does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// Everything together is too much.
    Total,
    /// One tensor is too large for a buffer of this GPU.
    Buffer,
}

/// A model and what it takes in each format, the one that it is stored in first.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Its name.
    pub name: &'a str,
    /// Weights in it.
    pub parameters: u64,
    /// From the format as stored on, each smaller than the one before.
    pub formats: &'a [FormatNeeds],
}

/// What would fit instead of a choice that does not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offer {
    /// The same model in the next smaller format that fits.
    pub format: Option<FormatNeeds>,
    /// The next smaller model that fits, in the largest format in which it does.
    pub model: Option<(String, FormatNeeds)>,
}

impl Format {
    /// All, from the largest on.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Int8, Self::Q4];

    /// As in messages, addresses and on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
            Self::Q4 => "q4",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A word that names no format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownFormat;

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Self::ALL.into_iter().find(|format| format.name() == name).ok_or(UnknownFormat)
    }
}

impl DeviceLimits {
    /// Those of a browser's tab. `device_memory_gib` is what the browser tells of the machine, rounded and capped as it likes; `None`
    /// where it tells nothing, and then only what Wasm can address is known.
    pub fn of_tab(device_memory_gib: Option<f64>, buffer_bytes: Option<u64>) -> Self {
        let share = device_memory_gib.filter(|gib| gib.is_finite() && *gib > 0.0);
        let share = share.map_or(MOST_WASM_BYTES, |gib| (gib * TAB_SHARE * f64::from(1 << 30)) as u64);
        Self { total_bytes: share.min(MOST_WASM_BYTES), buffer_bytes }
    }

    /// What is left beside something that takes so many bytes of all memory.
    pub fn beside(self, taken_bytes: u64) -> Self {
        Self { total_bytes: self.total_bytes.saturating_sub(taken_bytes), ..self }
    }
}

impl FormatNeeds {
    /// Why it does not fit, if it does not.
    pub fn obstacle(&self, limits: &DeviceLimits) -> Option<Obstacle> {
        if self.peak_bytes > limits.total_bytes {
            Some(Obstacle::Total)
        } else if limits.buffer_bytes.is_some_and(|most| self.largest_tensor_bytes > most) {
            Some(Obstacle::Buffer)
        } else {
            None
        }
    }
}

impl<'a> Candidate<'a> {
    /// What it takes in a format; `None` for as it is stored. A format that is not listed gives nothing.
    pub fn needs(&self, format: Option<Format>) -> Option<&'a FormatNeeds> {
        match format {
            None => self.formats.first(),
            Some(format) => self.formats.iter().find(|needs| needs.format == format),
        }
    }
}

/// Whether a model fits beside another one that runs on the processor, and if not, the largest format below those of both in which both do.
/// Each of the two is given as it is kept and in each smaller format.
///
/// # Errors
/// That format, if there is one.
pub fn fits_beside(
    other: &[FormatNeeds],
    model: &[FormatNeeds],
    limits: &DeviceLimits,
) -> Result<(), Option<Format>> {
    let in_format = |formats: &[FormatNeeds], format: Format| {
        formats.iter().find(|needs| needs.format >= format).or(formats.last()).copied()
    };
    let fits = |other: Option<FormatNeeds>, model: Option<FormatNeeds>| {
        let taken = other.map_or(0, |needs| needs.peak_bytes);
        model.is_none_or(|needs| needs.obstacle(&limits.beside(taken)).is_none())
    };
    if fits(other.first().copied(), model.first().copied()) {
        return Ok(());
    }
    let kept = other.iter().chain(model).map(|needs| needs.format).min();
    let smaller = Format::ALL.into_iter().filter(|format| kept.is_none_or(|kept| *format > kept));
    Err(smaller.into_iter().find(|format| fits(in_format(other, *format), in_format(model, *format))))
}

/// What would fit instead of a model in a format, `None` being as it is stored. Where that fits, or nothing is known of it, there is
/// nothing to offer, and `None` is returned.
pub fn offer_instead(
    chosen: &Candidate<'_>,
    format: Option<Format>,
    limits: &DeviceLimits,
    others: &[Candidate<'_>],
) -> Option<Offer> {
    let needs = chosen.needs(format)?;
    needs.obstacle(limits)?;
    let fitting = |candidate: &Candidate<'_>, below: Option<Format>| {
        let mut formats =
            candidate.formats.iter().filter(|needs| below.is_none_or(|below| needs.format > below));
        formats.find(|needs| needs.obstacle(limits).is_none()).copied()
    };
    let smaller = others.iter().filter(|other| other.parameters < chosen.parameters);
    let fit = smaller.filter_map(|other| Some((other, fitting(other, None)?)));
    let model =
        fit.max_by_key(|(other, _)| other.parameters).map(|(other, needs)| (other.name.to_owned(), needs));
    Some(Offer { format: fitting(chosen, Some(needs.format)), model })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A model of so many weights, of which the largest tensor has a tenth.
    fn formats(parameters: u64) -> Vec<FormatNeeds> {
        let of = |(format, bits): (Format, u64)| {
            let weights_bytes = parameters * bits / 16;
            let peak_bytes = weights_bytes + weights_bytes / 10 + 50_000_000;
            let largest_tensor_bytes = weights_bytes / 10;
            FormatNeeds {
                format,
                weights_bytes,
                kv_bytes: 0,
                activations_bytes: 0,
                peak_bytes,
                largest_tensor_bytes,
            }
        };
        Format::ALL.into_iter().zip([64, 32, 16, 9]).map(of).collect()
    }

    fn tab(gib: f64) -> DeviceLimits {
        DeviceLimits::of_tab(Some(gib), None)
    }

    #[test]
    fn the_next_smaller_format_and_the_next_smaller_model_are_offered() {
        let [large, middle, small] = [500_000_000, 256_000_000, 1_000_000].map(formats);
        let of = |name, parameters, formats| Candidate { name, parameters, formats };
        let chosen = of("500M", 500_000_000, &large);
        let others =
            [of("1M", 1_000_000, &small), of("256M", 256_000_000, &middle), of("2B", 2_000_000_000, &[])];
        assert_eq!(offer_instead(&chosen, None, &tab(8.0), &others), None, "2.2 of 3.2 GB");
        let offer = offer_instead(&chosen, None, &tab(3.0), &others).unwrap();
        assert_eq!(offer.format.unwrap().format, Format::F16);
        let (name, needs) = offer.model.unwrap();
        assert_eq!((name.as_str(), needs.format), ("256M", Format::F32));
        let offer = offer_instead(&chosen, Some(Format::Q4), &tab(0.5), &others).unwrap();
        assert_eq!(offer.format, None, "there is none below 4 bits");
        assert_eq!(offer.model.unwrap().0, "256M");
        let offer = offer_instead(&chosen, None, &tab(0.01), &others).unwrap();
        assert_eq!(offer, Offer::default());
    }

    #[test]
    fn a_tensor_that_is_no_buffer_of_this_gpu_is_an_obstacle() {
        let formats = formats(500_000_000);
        let limits = DeviceLimits::of_tab(None, Some(128 << 20));
        assert_eq!(limits.total_bytes, MOST_WASM_BYTES, "nothing is known of the machine");
        assert_eq!(formats[0].obstacle(&limits), Some(Obstacle::Buffer));
        let chosen = Candidate { name: "500M", parameters: 500_000_000, formats: &formats };
        let offer = offer_instead(&chosen, None, &limits, &[]).unwrap();
        assert_eq!(offer.format.unwrap().format, Format::F16);
    }

    #[test]
    fn two_models_share_what_there_is() {
        let (model, speech) = (formats(500_000_000), formats(75_000_000));
        assert_eq!(fits_beside(&model, &speech, &tab(8.0)), Ok(()), "2.3 and 0.4 of 3.2 GB");
        assert_eq!(fits_beside(&model, &speech, &tab(4.5)), Err(Some(Format::F16)), "each alone would fit");
        assert_eq!(fits_beside(&model[3..], &speech, &tab(1.2)), Err(Some(Format::F16)));
        assert_eq!(fits_beside(&model, &speech, &tab(0.5)), Err(None));
        assert_eq!(fits_beside(&[], &speech, &tab(1.0)), Ok(()), "nothing is known of the other");
        assert_eq!(fits_beside(&model, &[], &tab(0.1)), Ok(()));
    }

    #[test]
    fn formats_are_called_as_they_are_written() {
        for format in Format::ALL {
            assert_eq!(format.name().parse(), Ok(format));
        }
        assert_eq!("Q4".parse::<Format>(), Err(UnknownFormat));
    }

    proptest! {
        #[test]
        fn whatever_is_offered_fits_and_is_smaller(
            chosen in 1_000_u64..3_000_000_000, others in prop::collection::vec(1_000_u64..3_000_000_000, 0..5),
            gib in 0.01_f64..16.0, format in prop::option::of(prop::sample::select(&Format::ALL[..])),
        ) {
            let limits = tab(gib);
            let (own, lists) = (formats(chosen), others.iter().map(|other| formats(*other)).collect::<Vec<_>>());
            let candidate = Candidate { name: "chosen", parameters: chosen, formats: &own };
            let others: Vec<_> = others.iter().zip(&lists)
                .map(|(parameters, formats)| Candidate { name: "other", parameters: *parameters, formats }).collect();
            let needs = candidate.needs(format).unwrap();
            let offer = offer_instead(&candidate, format, &limits, &others);
            prop_assert_eq!(offer.is_some(), needs.obstacle(&limits).is_some());
            let offer = offer.unwrap_or_default();
            if let Some(smaller) = offer.format {
                prop_assert!(smaller.obstacle(&limits).is_none() && smaller.format > needs.format);
            }
            if let Some((_, other)) = offer.model {
                prop_assert!(other.obstacle(&limits).is_none() && other.weights_bytes < own[0].weights_bytes);
            }
        }
    }
}
