//! The receipt in words: what was looked at, what left the device, who wrote each token, where the milliseconds went.

use msao_protocol::{
    Modality, ModalityAction, ModalityPlanReceipt, PlanChange, PlanReason, Receipt, ShadowCheck, SpanKind,
    SpeechReceipt, TokenFate, TokenSource,
};

use super::TurnReceipt;
use crate::{format, heard::HeardHere, mode, policy};

/// A line of a list: what, and how much.
pub type Line = (&'static str, String);

impl TurnReceipt {
    /// The receipt in a line: how much left the device.
    pub fn headline(&self) -> String {
        let media = self.plan.modalities.iter().filter(|one| one.modality != Modality::Text);
        let (sent, whole) =
            media.fold((0, 0), |(sent, whole), one| (sent + one.sent_bytes, whole + one.cloud_only_bytes));
        if whole == 0 {
            return "no picture and no sound were given".to_owned();
        }
        let of = if format::bytes(sent) == format::bytes(whole) { "of " } else { "" };
        format!("{} {of}picture and sound left this device", format::sent_of(sent, whole))
    }

    /// Figures of one modality.
    pub fn modality_lines(&self, one: &ModalityPlanReceipt) -> Vec<Line> {
        let score = |score: fn(&msao_protocol::MasReceipt) -> f32| {
            one.mas.as_ref().map_or_else(|| "–".to_owned(), |mas| format!("{:.2}", score(mas)))
        };
        vec![
            ("Relevance r", score(|mas| mas.relevance)),
            ("Density d", score(|mas| mas.density)),
            ("MAS 1 − r·d", score(|mas| mas.mas)),
            ("Tokens kept", self.tokens(one)),
        ]
    }

    /// Prompt tokens that were kept of a modality, of those that all of it would be: as the cloud counted them, or as the
    /// scores say where it was not asked.
    fn tokens(&self, one: &ModalityPlanReceipt) -> String {
        let of_model = match one.modality {
            Modality::Text => return "all".to_owned(),
            Modality::Vision => self.whole_tokens[0],
            Modality::Audio => self.whole_tokens[1],
        };
        let (kept, scored) = one.mas.as_ref().map_or((None, 0), |mas| {
            let per_frame = mas.patches.checked_div(mas.kept_frames).unwrap_or(0);
            (Some(mas.kept_patches + mas.kept_windows), per_frame * mas.frames + mas.windows)
        });
        let mut cloud = self.cloud.iter().flat_map(|receipt| &receipt.modalities);
        let cloud = cloud.find(|read| read.modality == one.modality);
        // A picture that was split has more tokens than one in one piece.
        let given = cloud.map_or(0, |read| read.given_tokens);
        let whole = if of_model > 0 { of_model.max(given) } else { scored.max(given) };
        if whole == 0 {
            return "–".to_owned();
        }
        let read = cloud.map(|read| read.prompt_tokens);
        let kept = match one.action {
            ModalityAction::Drop => 0,
            ModalityAction::Whole => read.unwrap_or(whole),
            ModalityAction::Edge | ModalityAction::Pruned => read.or(kept).unwrap_or(whole),
        };
        match cloud.filter(|read| one.action.leaves_device() && read.kept_inputs < read.inputs) {
            Some(read) => {
                // Frames are in one piece.
                let parts = if given <= of_model { "frames" } else { "tiles" };
                format!("{kept} of {whole}, {} of {} {parts}", read.kept_inputs, read.inputs)
            }
            None => format!("{kept} of {whole}"),
        }
    }

    /// Who wrote, and what it took.
    pub fn plan_lines(&self) -> Vec<Line> {
        let plan = &self.plan;
        let mut lines = vec![
            ("Policy", policy::label(plan.policy).to_owned()),
            ("Mode", mode::label(plan.mode)),
            ("Who wrote", format!("{}; {}", policy::strategy_words(plan.strategy), self.reason_words())),
        ];
        lines.extend(self.heard.as_ref().map(HeardHere::line));
        if let Some(speech) = self.cloud.as_ref().and_then(|receipt| receipt.speech.as_ref()) {
            lines.push(("Heard there", heard_there(speech)));
        }
        if let Some(confidence) = plan.edge_confidence {
            let sure = format::probability(confidence);
            lines.push(("Confidence", format!("{sure} that the device's answer is the cloud's too")));
        }
        if let Some(check) = plan.shadow {
            lines.push(("Check", check_words(check).to_owned()));
        }
        if !plan.changes.is_empty() {
            let changes: Vec<_> = plan.changes.iter().map(change_words).collect();
            lines.push(("Changes", changes.join("; ")));
        }
        if !plan.tokens.is_empty() {
            lines.push(("Tokens", self.fates()));
            lines.push(("First written", self.sources()));
        }
        if plan.proposed_drafts > 0 {
            lines.push((
                "Drafts",
                format!(
                    "{} of {} accepted, in {} {}",
                    plan.accepted_drafts,
                    plan.proposed_drafts,
                    plan.rounds,
                    if plan.rounds == 1 { "round" } else { "rounds" }
                ),
            ));
        }
        lines.push((
            "Operations",
            format!(
                "{} on this device, {} in the cloud",
                format::operations(plan.edge_flops),
                format::operations(plan.cloud_flops)
            ),
        ));
        if let Some(receipt) = &self.edge {
            lines.push(("Time here", spans(receipt)));
        }
        if let Some(receipt) = &self.cloud {
            lines.push(("Time there", spans(receipt)));
        }
        lines
    }

    /// Why the plan was made so. A device that sits a question out that goes on counts as none for the plan.
    fn reason_words(&self) -> &'static str {
        match self.plan.reason {
            PlanReason::EdgeNotReady if self.device_sat_out => {
                "the device's model answers single questions, and this one goes on from the last answer"
            }
            reason => policy::reason_words(reason),
        }
    }

    /// That nothing was saved in the cloud, and why; `None` where something was, or where it is not known.
    pub fn why_nothing_was_saved(&self) -> Option<&'static str> {
        match self.spared_flops()? {
            1.. => None,
            0 => Some("Nothing was saved in the cloud this time: it read and wrote everything itself."),
            _ => Some(
                "Nothing was saved in the cloud this time: checking drafts that it rejected took more than was left out.",
            ),
        }
    }

    fn fates(&self) -> String {
        let counted = [
            (TokenFate::Accepted, "accepted"),
            (TokenFate::Corrected, "corrected"),
            (TokenFate::Written, "written by the cloud"),
            (TokenFate::Unverified, "unverified"),
        ]
        .map(|(fate, word)| (self.plan.tokens.iter().filter(|token| token.fate == fate).count(), word));
        counts(&counted)
    }

    /// Who wrote the tokens first.
    fn sources(&self) -> String {
        let counted = [
            (TokenSource::EdgeDraft, "by this device"),
            (TokenSource::CoLocatedDraft, "by the draft model on the server"),
            (TokenSource::PartialContext, "by the cloud before all had arrived"),
            (TokenSource::Target, "by the cloud"),
        ]
        .map(|(source, words)| {
            (self.plan.tokens.iter().filter(|token| token.source == source).count(), words)
        });
        counts(&counted)
    }
}

/// Those of which there are any, with their number.
fn counts(counted: &[(usize, &str)]) -> String {
    let some = counted.iter().filter(|(count, _)| *count > 0);
    some.map(|(count, words)| format!("{count} {words}")).collect::<Vec<_>>().join(", ")
}

fn check_words(check: ShadowCheck) -> &'static str {
    match check {
        ShadowCheck::Pending => "afterwards, under way",
        ShadowCheck::Agreed => "afterwards: the cloud says the same",
        ShadowCheck::Differed => "afterwards: the cloud says something else",
        ShadowCheck::Failed => "to be made afterwards, but the cloud could not be asked",
    }
}

fn change_words(change: &PlanChange) -> String {
    let when = match change.at_token {
        0 => "before any token was settled".to_owned(),
        tokens => format!("with {} settled", format::count(tokens.into(), "token")),
    };
    format!("{when}: {} ({})", policy::change_words(change.strategy), policy::reason_words(change.reason))
}

/// Name of a modality.
pub fn modality(modality: Modality, count: usize) -> &'static str {
    match modality {
        Modality::Text => "Words",
        Modality::Vision if count > 1 => "Clip",
        Modality::Vision => "Picture",
        Modality::Audio => "Sound",
    }
}

/// What was done with a modality.
pub fn action(one: &ModalityPlanReceipt) -> &'static str {
    match (one.action, one.locked) {
        (ModalityAction::Drop, false) => "not needed, not sent",
        (ModalityAction::Drop, true) => "locked, and not needed",
        (ModalityAction::Edge, false) => "used on this device only",
        (ModalityAction::Edge, true) => "locked, used on this device only",
        (ModalityAction::Pruned, _) => "only what the question needs was sent",
        (ModalityAction::Whole, _) => "all of it was sent",
    }
}

/// Name of an action for tests and styles.
pub fn action_name(action: ModalityAction) -> &'static str {
    match action {
        ModalityAction::Drop => "drop",
        ModalityAction::Edge => "edge",
        ModalityAction::Pruned => "pruned",
        ModalityAction::Whole => "whole",
    }
}

/// Where the time went, in the order things began; what took under half a millisecond is left out.
fn spans(receipt: &Receipt) -> String {
    let mut kinds: Vec<(SpanKind, f64)> = Vec::new();
    for span in &receipt.spans {
        if let Some((_, ms)) = kinds.iter_mut().find(|(kind, _)| *kind == span.kind) {
            *ms += span.ms;
        } else {
            kinds.push((span.kind, span.ms));
        }
    }
    kinds.retain(|(_, ms)| ms.round() >= 1.0);
    let said: Vec<_> =
        kinds.iter().map(|(kind, ms)| format!("{} {}", span_word(*kind), format::duration_ms(*ms))).collect();
    if said.is_empty() { "under 1 ms".to_owned() } else { said.join(", ") }
}

/// What was done in a span.
pub fn span_word(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Queue => "queue",
        SpanKind::DecodeMedia => "decode files",
        SpanKind::Encode => "encode",
        SpanKind::Prefill => "prefill",
        SpanKind::Decode => "write",
        SpanKind::Score => "score",
        SpanKind::Plan => "plan",
        SpanKind::Propose => "propose",
        SpanKind::Verify => "verify",
        SpanKind::Wait => "wait",
        SpanKind::Prune => "cut out",
        SpanKind::Transcribe => "write down",
    }
}

fn heard_there(speech: &SpeechReceipt) -> String {
    let SpeechReceipt { model, language, seconds, tokens, bytes, confidence } = speech;
    let (sure, sound) = (format::probability(*confidence), format::bytes(*bytes));
    format!("{seconds:.1} s by {model}, {language}, {tokens} tokens, {sure} sure; {sound} of sound were sent")
}

#[cfg(test)]
mod tests {
    use msao_protocol::{AnswerMode, Strategy};

    use super::*;
    use crate::receipt::fixtures::{pruned, receipt};

    #[test]
    fn what_left_is_said_first() {
        assert_eq!(receipt().headline(), "900 B of 12.0 kB picture and sound left this device");
        let mut nothing = receipt();
        nothing.plan.modalities[0].sent_bytes = 0;
        assert_eq!(nothing.headline(), "nothing of 12.0 kB picture and sound left this device");
    }

    #[test]
    fn a_device_that_sits_a_question_out_is_not_called_unready() {
        let mut receipt = receipt();
        receipt.plan.reason = PlanReason::EdgeNotReady;
        let who = |receipt: &TurnReceipt| receipt.plan_lines()[2].1.clone();
        assert!(who(&receipt).ends_with("the device's model was not ready"), "{}", who(&receipt));
        receipt.device_sat_out = true;
        assert!(who(&receipt).ends_with("goes on from the last answer"), "{}", who(&receipt));
    }

    #[test]
    fn that_nothing_was_saved_is_said_in_words() {
        let with = |whole_tokens, proposed_drafts| {
            let mut receipt = TurnReceipt { whole_tokens, ..receipt() };
            receipt.plan.proposed_drafts = proposed_drafts;
            receipt.why_nothing_was_saved()
        };
        assert_eq!(with([72, 0], 4), None);
        assert!(with([1, 0], 1).is_some_and(|words| words.contains("itself")));
        assert!(with([1, 0], 9).is_some_and(|words| words.contains("rejected")));
    }

    #[test]
    fn figures_are_the_receipts_own() {
        let receipt = receipt();
        let lines = receipt.modality_lines(&receipt.plan.modalities[0]);
        let values: Vec<_> = lines.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["0.98", "0.25", "0.76", "1 of 72"]);
        let locked = ModalityPlanReceipt { action: ModalityAction::Edge, ..pruned() };
        let alone = TurnReceipt { cloud: None, whole_tokens: [0, 0], ..receipt.clone() };
        assert_eq!(alone.tokens(&locked), "1 of 8", "two frames of four patches, by the scores");
        let lines = receipt.plan_lines();
        let of = |name| lines.iter().find(|(label, _)| *label == name).map(|(_, value)| value.as_str());
        assert_eq!(of("Tokens"), Some("1 accepted, 1 corrected"));
        assert_eq!(of("First written"), Some("1 by this device, 1 by the cloud"));
        assert_eq!(of("Mode"), Some("Verified: every token checked"));
        assert_eq!((of("Confidence"), of("Check"), of("Changes")), (None, None, None));
        assert_eq!(of("Drafts"), Some("1 of 4 accepted, in 1 round"));
        assert_eq!(of("Time here"), Some("encode 12 ms"));
        assert_eq!(of("Operations"), Some("0.040 GFLOP on this device, none in the cloud"));
    }

    #[test]
    fn what_was_decided_on_the_way_is_said() {
        let mut receipt = receipt();
        let change = |at_token, strategy, reason| PlanChange { at_token, strategy, reason };
        receipt.plan.changes = vec![
            change(0, Strategy::Distributed { draft_tokens: 4, pipelined: false }, PlanReason::Cheapest),
            change(3, Strategy::EdgeOnly, PlanReason::CloudAway),
        ];
        (receipt.plan.edge_confidence, receipt.plan.shadow) = (Some(0.97), Some(ShadowCheck::Differed));
        receipt.plan.mode = AnswerMode::RiskControlled { epsilon: 0.05 };
        let lines = receipt.plan_lines();
        let of = |name| lines.iter().find(|(label, _)| *label == name).unwrap().1.as_str();
        assert_eq!(
            of("Changes"),
            "before any token was settled: to drafts of this device (lowest expected cost); with 3 tokens settled: to this device alone (the server was away)"
        );
        assert!(of("Confidence").starts_with("97 %") && of("Check").contains("something else"));
        assert!(of("Mode").contains("at most 5 %"));
    }
}
