//! The edge's half: encodes all of a question, runs the first layers, and asks the cloud for each token.

use std::{
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use msao_models::{Assistant, DEFAULT_MAX_NEW_TOKENS, FirstLayers, Prompt};
use pollster::block_on;

use super::{
    answer::{SplitAnswer, Work},
    wire::{self, DOWN_BUDGET_BYTES, FromCloud, FromEdge, Rows},
};
use crate::clock::ms_since;

/// The longest silence of a cloud that is not stuck, outages of the network included.
const SILENCE: Duration = Duration::from_secs(120);

/// An edge with the target's towers and first layers, connected to the half with the rest.
pub(crate) struct SplitRunner {
    target: Assistant,
    stream: TcpStream,
    layers: usize,
}

impl SplitRunner {
    /// Connects to the [`SplitServer`](super::SplitServer) at `cloud`, or to a link before it. The edge runs `layers`
    /// layers of `target`.
    ///
    /// # Errors
    /// If nobody is there, or one of the two sides would have no layer.
    pub(crate) fn start(target: Assistant, cloud: SocketAddr, layers: usize) -> Result<Self> {
        let of = target.model().decoder.num_layers();
        ensure!((1..of).contains(&layers), "{layers} of {of} layers leave one side without any");
        let stream = TcpStream::connect(cloud).context("the split server is away")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE))?;
        Ok(Self { target, stream, layers })
    }

    /// Takes another cut from the next question on.
    pub(super) fn cut_behind(&mut self, layers: usize) {
        self.layers = layers;
    }

    /// Answers a question greedily, with at most `max_new_tokens` tokens.
    ///
    /// # Errors
    /// If the prompt does not fit the target, or the connection breaks; connect anew after that.
    pub(crate) fn ask(&mut self, prompt: &Prompt, max_new_tokens: usize) -> Result<SplitAnswer> {
        let asked = Instant::now();
        let mut work = Work::default();
        let encoded = self.target.encode(prompt)?;
        work.edge_encode_ms = ms_since(asked);
        let prompt_tokens = encoded.num_tokens();
        let room = DEFAULT_MAX_NEW_TOKENS.min(self.target.max_sequence() - prompt_tokens);
        let most = max_new_tokens.min(room);

        let prefilling = Instant::now();
        let (mut half, rows) = block_on(FirstLayers::start(&self.target, &encoded, self.layers))?;
        work.edge_prefill_ms = ms_since(prefilling);
        let (layers, positions) = (u16::try_from(self.layers)?, u32::try_from(prompt_tokens + most)?);
        let message = FromEdge::Prompt { layers, positions, rows: Rows::of(&rows) };
        let mut token = self.exchange(&message, &mut work, true)?;
        let (ttft_ms, ends) = (ms_since(asked), self.target.end_tokens().clone());
        let mut tokens = Vec::new();
        while !ends.contains(token) && tokens.len() < most {
            tokens.push(token);
            if tokens.len() == most {
                break;
            }
            let stepping = Instant::now();
            let row = block_on(half.next(token))?;
            work.edge_decode_ms += ms_since(stepping);
            work.steps += 1;
            token = self.exchange(&FromEdge::Row(Rows::of(&row)), &mut work, false)?;
        }
        let text = self.target.tokenizer().decode(&tokens).trim().to_owned();
        let total_ms = ms_since(asked);
        Ok(SplitAnswer::new(&self.target, prompt, self.layers, prompt_tokens, work, tokens, text)
            .at(ttft_ms, total_ms))
    }

    /// One message up, one token down.
    fn exchange(&mut self, message: &FromEdge, work: &mut Work, is_prompt: bool) -> Result<u32> {
        let sending = Instant::now();
        work.up_bytes += wire::send(&mut self.stream, message)?;
        let reply = wire::receive(&mut self.stream, DOWN_BUDGET_BYTES)?;
        let (reply, bytes) = reply.context("the cloud's half closed the connection")?;
        work.down_bytes += bytes;
        match reply {
            FromCloud::Token { id, compute_us } => {
                let compute_ms = f64::from(compute_us) / 1e3;
                let spent = if is_prompt { &mut work.cloud_prefill_ms } else { &mut work.cloud_decode_ms };
                *spent += compute_ms;
                work.network_ms += (ms_since(sending) - compute_ms).max(0.0);
                Ok(id)
            }
            FromCloud::Refused { reason } => bail!("the cloud's half refuses: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use msao_tests::{evaluation, native};

    use super::*;
    use crate::split::{CutTimes, SplitServer, Uplink};

    #[test]
    fn answers_are_the_whole_targets_but_for_rounding() {
        let target = native::load("pocket-cloud").unwrap();
        let server = SplitServer::start(target.clone(), (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let mut runner = SplitRunner::start(target.clone(), server.address(), 3).unwrap();
        let gallery = evaluation::gallery().unwrap();
        let mut agreed = 0;
        for sample in &gallery {
            let prompt = native::prompt(sample).unwrap();
            let split = runner.ask(&prompt, 96).unwrap();
            let whole = native::answer(&target, &prompt).unwrap();
            if split.text == whole {
                agreed += 1;
            } else {
                eprintln!("{}: {:?} instead of {whole:?}", sample.id, split.text);
            }
        }
        assert!(agreed * 100 >= gallery.len() * 97, "{agreed} of {} answers agree", gallery.len());
    }

    #[test]
    fn what_is_counted_is_what_the_cut_says() {
        let target = native::load("pocket-cloud").unwrap();
        let server = SplitServer::start(target.clone(), (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let prompt = native::prompt(&evaluation::gallery().unwrap()[0]).unwrap();
        let mut answers = Vec::new();
        for layers in [1, 5] {
            let mut runner = SplitRunner::start(target.clone(), server.address(), layers).unwrap();
            answers.push(runner.ask(&prompt, 8).unwrap());
        }
        let [few, many] = &answers[..] else { unreachable!("two cuts were asked") };
        let sum = |answer: &SplitAnswer| answer.edge_flops + answer.cloud_flops;
        assert_eq!(sum(few), sum(many));
        assert!(few.edge_flops < many.edge_flops);
        assert_eq!(few.work.up_bytes, many.work.up_bytes);
        let rows = few.prompt_tokens + few.work.steps;
        let payload = (rows * wire::row_bytes(target.config())) as u64;
        assert!((payload..payload + 64 * (1 + few.work.steps as u64)).contains(&few.work.up_bytes));
    }

    #[test]
    fn cuts_that_leave_a_side_empty_are_refused_and_the_best_is_one_of_the_others() {
        let target = native::load("pocket-cloud").unwrap();
        let server = SplitServer::start(target.clone(), (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        for layers in [0, 6] {
            assert!(SplitRunner::start(target.clone(), server.address(), layers).is_err());
        }
        let prompt = native::prompt(&evaluation::gallery().unwrap()[0]).unwrap();
        let times = CutTimes::measure(&target, server.address(), &[prompt]).unwrap();
        assert!((1..6).contains(&times.best(Uplink { rate_bits_per_s: 2e8, rtt_ms: 20.0 })));
    }
}
