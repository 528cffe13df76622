//! The networks of the bench, by name: `20ms-200mbit`, `lte:7`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    error::LinkError,
    recorded::{Model, Recorded},
    shape::Shape,
    trace::Trace,
};

/// Uplinks of the paper's network, whose RTT is 20 ms.
const PAPER_UP_MBIT: [u32; 3] = [200, 300, 400];
const PAPER_RTT_MS: u32 = 20;
/// Uplinks and RTTs of what people have at home and on the way.
const ACCESS_UP_MBIT: [u32; 3] = [5, 20, 50];
const ACCESS_RTT_MS: [u32; 2] = [40, 100];
/// Uplinks from here on are a campus or office network's, which gives as much down as up; slower ones are those of
/// access networks, which commonly give several times as much down.
const SYMMETRIC_FROM_MBIT: u32 = 100;
const DOWN_PER_UP: u32 = 4;

/// A network that does not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Steady {
    /// There and back.
    pub(crate) rtt_ms: u32,
    /// From the edge to the cloud. Down it is as much from 100 Mbit/s on, and 4 times as much below.
    pub(crate) up_mbit: u32,
}

impl Steady {
    /// Its figures.
    pub(crate) fn shape(self) -> Shape {
        let Self { rtt_ms, up_mbit } = self;
        let down_mbit = if up_mbit >= SYMMETRIC_FROM_MBIT { up_mbit } else { up_mbit * DOWN_PER_UP };
        let bits_per_s = |mbit: u32| f64::from(mbit) * 1e6;
        Shape::new(bits_per_s(up_mbit), bits_per_s(down_mbit), f64::from(rtt_ms))
    }
}

/// A network of the bench. In JSON and on the command line it is its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) enum Scenario {
    /// `20ms-200mbit`
    Steady(Steady),
    /// `lte:7`
    Recorded(Recorded),
}

impl Scenario {
    /// The paper's networks.
    pub(crate) fn paper() -> Vec<Self> {
        PAPER_UP_MBIT.map(|up_mbit| Self::Steady(Steady { rtt_ms: PAPER_RTT_MS, up_mbit })).to_vec()
    }

    /// Access networks, by RTT and then uplink.
    pub(crate) fn access() -> Vec<Self> {
        let steady = |rtt_ms| ACCESS_UP_MBIT.map(|up_mbit| Self::Steady(Steady { rtt_ms, up_mbit }));
        ACCESS_RTT_MS.into_iter().flat_map(steady).collect()
    }

    /// A trace of every model.
    pub(crate) fn recorded(seed: u64) -> Vec<Self> {
        Model::ALL.map(|model| Self::Recorded(Recorded { model, seed })).to_vec()
    }

    /// What a link emulates.
    pub(crate) fn trace(self) -> Trace {
        match self {
            Self::Steady(steady) => steady.shape().into(),
            Self::Recorded(recorded) => recorded.trace(),
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steady(Steady { rtt_ms, up_mbit }) => write!(formatter, "{rtt_ms}ms-{up_mbit}mbit"),
            Self::Recorded(Recorded { model, seed }) => write!(formatter, "{}:{seed}", model.name()),
        }
    }
}

impl FromStr for Scenario {
    type Err = LinkError;

    fn from_str(name: &str) -> Result<Self, LinkError> {
        let unknown = || LinkError::UnknownScenario { name: name.chars().take(60).collect() };
        if let Some((model, seed)) = name.split_once(':') {
            let model = Model::ALL.into_iter().find(|known| known.name() == model).ok_or_else(unknown)?;
            return Ok(Self::Recorded(Recorded { model, seed: seed.parse().map_err(|_| unknown())? }));
        }
        let figures = name.split_once("ms-").and_then(|(rtt, up)| Some((rtt, up.strip_suffix("mbit")?)));
        let (rtt, up) = figures.ok_or_else(unknown)?;
        let number = |text: &str| text.parse().map_err(|_| unknown());
        let steady = Steady { rtt_ms: number(rtt)?, up_mbit: number(up)? };
        // Within bounds that no arithmetic of ours overflows in.
        if steady.up_mbit == 0 || steady.up_mbit > 20_000 || steady.rtt_ms > 20_000 {
            return Err(unknown());
        }
        Ok(Self::Steady(steady))
    }
}

impl From<Scenario> for String {
    fn from(scenario: Scenario) -> Self {
        scenario.to_string()
    }
}

impl TryFrom<String> for Scenario {
    type Error = LinkError;

    fn try_from(name: String) -> Result<Self, LinkError> {
        name.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_of_the_bench_has_a_name_and_can_be_emulated() {
        let all: Vec<Scenario> =
            [Scenario::paper(), Scenario::access(), Scenario::recorded(3)].into_iter().flatten().collect();
        assert_eq!(all.len(), 3 + 6 + 3);
        for scenario in all {
            assert_eq!(scenario.to_string().parse::<Scenario>().unwrap(), scenario);
            let json = serde_json::to_string(&scenario).unwrap();
            assert_eq!(serde_json::from_str::<Scenario>(&json).unwrap(), scenario, "{json}");
            scenario.trace().check().unwrap();
        }
    }

    #[test]
    fn names_say_rtt_and_uplink() {
        let shape = |name: &str| name.parse::<Scenario>().unwrap().trace().segments[0].shape;
        let paper = shape("20ms-300mbit");
        assert_eq!((paper.rtt_ms(), paper.up.rate_bits_per_s, paper.down.rate_bits_per_s), (20.0, 3e8, 3e8));
        let home = shape("100ms-5mbit");
        assert_eq!((home.rtt_ms(), home.up.rate_bits_per_s, home.down.rate_bits_per_s), (100.0, 5e6, 2e7));
        for name in ["", "20ms", "20ms-0mbit", "-1ms-5mbit", "20ms-5000000mbit", "gsm:1", "lte:x", "lte"] {
            assert!(name.parse::<Scenario>().is_err(), "{name}");
        }
    }
}
