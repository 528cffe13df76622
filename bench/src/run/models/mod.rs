//! The models that are measured: the shipped ones, the user's own checkpoint folders, or an OpenAI-compatible server as the target.
//!
//! Nothing is loaded here. What a run is of is told apart by names and hashes, so that figures of different models never mix.

mod checkpoint;
mod upstream;

use std::fmt;

use anyhow::{Result, ensure};
use clap::Args;
use msao_planner::confidence::JudgedPair;
use msao_protocol::ModelInfo;
use msao_tests::places;
use serde::Serialize;

pub(crate) use self::{checkpoint::Checkpoint, upstream::Upstream};
use super::{BenchPolicy, judged::read_judged};

/// The shipped checkpoints.
const TARGET: &str = "pocket-cloud";
const EDGE: &str = "pocket-edge";
/// What `--draft-model` says for no draft model.
const NO_DRAFT: &str = "none";
/// Judged answers of the edge's model and a target, in the folder of the former.
const CONFIDENCE: &str = "confidence.json";

/// Which models to measure.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ModelOptions {
    /// The target: a checkpoint folder, or an OpenAI-compatible server such as https://host/v1; without it the shipped
    /// pocket-cloud
    #[arg(long, value_name = "FOLDER|URL")]
    model: Option<String>,
    /// Which model of an OpenAI-compatible server; without it the first that it lists
    #[arg(long, requires = "model", value_name = "NAME")]
    upstream_model: Option<String>,
    /// Environment variable that holds the key for an OpenAI-compatible server
    #[arg(long, requires = "model", value_name = "VARIABLE")]
    upstream_key_env: Option<String>,
    /// Checkpoint folder of a model that drafts beside the target, or `none`
    #[arg(long, value_name = "FOLDER")]
    draft_model: Option<String>,
    /// Checkpoint folder of the edge's model, with its MAS probe; without it the shipped pocket-edge
    #[arg(long, value_name = "FOLDER")]
    edge_model: Option<String>,
}

impl ModelOptions {
    /// Whether the models are told at all.
    pub(crate) fn are_given(&self) -> bool {
        self.model.is_some() || self.draft_model.is_some() || self.edge_model.is_some()
    }

    /// The OpenAI-compatible server, if that is the target.
    ///
    /// # Errors
    /// If its address or its key is of no use.
    pub(crate) fn upstream(&self) -> Result<Option<Upstream>> {
        let url = self.model.as_deref().filter(|model| Upstream::is_url(model));
        let name = self.upstream_model.clone();
        url.map(|url| Upstream::new(url, name, self.upstream_key_env.clone())).transpose()
    }
}

/// Who answers for the cloud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// A model that our server loads.
    Checkpoint(Checkpoint),
    /// A server that our server asks.
    Upstream(Upstream),
}

/// The draft model beside the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Draft {
    /// What the server does by itself.
    Default,
    /// None.
    Without,
    /// This one.
    Checkpoint(Checkpoint),
}

/// The models of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Models {
    /// The cloud's.
    pub(crate) target: Target,
    draft: Draft,
    /// The edge's.
    pub(crate) edge: Checkpoint,
}

impl Models {
    /// Looks at what is asked for, and hashes it.
    ///
    /// # Errors
    /// If a folder holds no checkpoint, or an address or a key is of no use.
    pub(crate) fn of(options: &ModelOptions) -> Result<Self> {
        let shipped = |name: &str| Checkpoint::read(&places::weights().join(name));
        let target = match (options.upstream()?, &options.model) {
            (Some(upstream), _) => Target::Upstream(upstream),
            (None, model) => {
                ensure!(
                    options.upstream_model.is_none() && options.upstream_key_env.is_none(),
                    "--upstream-model and --upstream-key-env are about an address in --model, such as https://host/v1"
                );
                Target::Checkpoint(match model {
                    Some(folder) => Checkpoint::read(folder.as_ref())?,
                    None => shipped(TARGET)?,
                })
            }
        };
        let draft = match options.draft_model.as_deref() {
            None => Draft::Default,
            Some(NO_DRAFT) => Draft::Without,
            Some(folder) => Draft::Checkpoint(Checkpoint::read(folder.as_ref())?),
        };
        ensure!(
            draft == Draft::Default || matches!(target, Target::Checkpoint(_)),
            "no draft model runs beside an OpenAI-compatible server; leave --draft-model out"
        );
        let edge = match &options.edge_model {
            Some(folder) => Checkpoint::read(folder.as_ref())?,
            None => shipped(EDGE)?,
        };
        Ok(Self { target, draft, edge })
    }

    /// The flags that let `msao-server` serve them. A key is not among them: the server reads it from its environment.
    pub(crate) fn server_flags(&self) -> Vec<String> {
        let mut flags = match &self.target {
            // The server tells a model by the name below its folder of checkpoints.
            Target::Checkpoint(target) => {
                let flags = ["--weights", &target.parent_text(), "--model", &target.name];
                flags.map(str::to_owned).to_vec()
            }
            Target::Upstream(upstream) => upstream.server_flags(),
        };
        // By its whole path: it need not be in the same folder. An upstream's text is held against its tokens.
        flags.extend(["--edge-model".to_owned(), self.edge.folder_text()]);
        match &self.draft {
            Draft::Default => (),
            Draft::Without => flags.extend(["--draft-model", NO_DRAFT].map(str::to_owned)),
            Draft::Checkpoint(draft) => flags.extend(["--draft-model".to_owned(), draft.folder_text()]),
        }
        flags
    }

    /// Why a policy cannot be measured with them; `running` is what the server says that it runs.
    pub(crate) fn bar(&self, policy: BenchPolicy, running: &ModelInfo) -> Option<String> {
        let upstream = matches!(self.target, Target::Upstream(_));
        let drafts_on_edge = policy.drafts_on_edge();
        match policy {
            BenchPolicy::LayerSplit if upstream => {
                Some("an OpenAI-compatible server does not run the layers behind others' activations".to_owned())
            }
            BenchPolicy::CoLocated if upstream => {
                Some("no draft model of ours runs beside an OpenAI-compatible server".to_owned())
            }
            BenchPolicy::CoLocated if !running.co_located_draft => {
                Some("no draft model runs beside the target; name one with --draft-model".to_owned())
            }
            BenchPolicy::MsaoRisk if self.judged(&running.name).ok().flatten().is_none() => {
                Some("there are no judged answers of this pair to calibrate on".to_owned())
            }
            _ if drafts_on_edge && !self.speak_alike() => Some(
                "edge and target have different tokenizers, and drafts are token ids; name an edge model of the \
                 target's family with --edge-model"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    /// Of these policies, those that can be measured; says of the others why not.
    pub(crate) fn able(&self, policies: &[BenchPolicy], running: &ModelInfo) -> Vec<BenchPolicy> {
        let is_able = |policy: &BenchPolicy| match self.bar(*policy, running) {
            None => true,
            Some(reason) => {
                eprintln!("{policy} is left out: {reason}");
                false
            }
        };
        policies.iter().copied().filter(is_able).collect()
    }

    /// Judged answers of these very models; `None` where there are none.
    ///
    /// # Errors
    /// If their file has another form.
    pub(crate) fn judged(&self, running: &str) -> Result<Option<JudgedPair>> {
        let Target::Checkpoint(target) = &self.target else { return Ok(None) };
        let judged = read_judged(&self.edge.folder.join(CONFIDENCE), running)?;
        Ok(judged
            .filter(|judged| judged.target_sha256 == target.sha256 && judged.edge_sha256 == self.edge.sha256))
    }

    /// Whether token ids of the edge mean the same to the target. With an upstream the server keeps the edge's tokens.
    fn speak_alike(&self) -> bool {
        match &self.target {
            Target::Checkpoint(target) => target.tokenizer_sha256 == self.edge.tokenizer_sha256,
            Target::Upstream(_) => true,
        }
    }
}

/// Names and hashes, as journals have them.
impl fmt::Display for Models {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Checkpoint(target) => write!(formatter, "{target}")?,
            Target::Upstream(upstream) => write!(formatter, "{upstream}")?,
        }
        write!(formatter, " with {}", self.edge)?;
        match &self.draft {
            Draft::Default => Ok(()),
            Draft::Without => formatter.write_str(" without a draft model"),
            Draft::Checkpoint(draft) => write!(formatter, " and {draft} beside it"),
        }
    }
}

#[cfg(test)]
mod tests;
